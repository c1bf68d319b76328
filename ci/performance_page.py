"""The tables of docs/performance.md, from runs of benchmarks/, and not typed."""

from performance import CALLS, LOOKUP, Run, abouts, layouts, memory_ratio, runs
from performance_aims import digits, of_targets, told

Table = tuple[list[str], list[list[str]]]


def of_runs(measured: list[Run]) -> Table:
    """Return what was measured where and when."""
    keys = ("torch", "python", "date", "cpu", "cores")
    header = ["torch", "Python", "date", "processor", "cores"]
    return header, [[str(run.about[key]) for key in keys] for run in measured]


def of_lookups(measured: list[Run]) -> Table:
    """Return look-ups after the first, beside torch's slice."""
    header = [
        "torch",
        "ranks",
        'torch\'s `mesh["tp"]`',
        "ours, any of the four calls, any thread",
        "`get_flat_mesh` is faster than the slice",
    ]
    body = []
    for run in measured:
        for world in run.worlds("again"):
            flat = {"call": CALLS[0], "world": world, "thread": "main"}
            ours = [
                run.seconds("ours", "again", **about)
                for about in abouts(run, "again", *LOOKUP)
                if about["world"] == world
            ]
            body.append(
                [
                    run.release,
                    f"{world:,}",
                    told(run.seconds("torch", "again", **flat)),
                    " to ".join(dict.fromkeys([told(min(ours)), told(max(ours))])),
                    f"{digits(1 / run.ratio('again', **flat))} times",
                ]
            )
    return header, body


def of_first_lookups(measured: list[Run]) -> Table:
    """Return the first look-up on a mesh, beside torch's slice."""
    header = [
        "torch",
        "ranks",
        "thread",
        'torch\'s `mesh["tp"]`',
        '`get_flat_mesh(mesh, "tp")`',
        "ours / torch's",
        "torch's slice of two dims",
        "`get_submesh` of two, one flattened",
        "ours / torch's",
    ]
    body = []
    for run in measured:
        for world in run.worlds("first"):
            for thread in ("main", "second"):
                cells = [run.release, f"{world:,}", thread]
                for call in CALLS[:2]:
                    about = {"call": call, "world": world, "thread": thread}
                    cells += [
                        told(run.seconds("torch", "first", **about)),
                        told(run.seconds("ours", "first", **about)),
                        digits(run.ratio("first", **about)),
                    ]
                body.append(cells)
    return header, body


def of_groups(measured: list[Run]) -> Table:
    """Return how many groups a rank holds for the meshes of each project."""
    header = [
        "meshes of",
        "shape",
        "torch's own calls",
        "meshcompat",
        "`share_groups=True`",
        "`share_groups=False`",
        "floor",
        "`new_group` calls, torch's",
        "ours",
    ]
    columns = (
        ("torch", "groups"),
        ("ours", "groups"),
        ("ours, all shared", "groups"),
        ("ours, none shared", "groups"),
        ("floor", "groups"),
        ("torch", "new_group"),
        ("ours", "new_group"),
    )
    body = []
    for project, shape in layouts(measured):
        rows = {
            run.release: run.find("groups", project=project, shape=shape)["counts"]
            for run in measured
        }
        cells = [
            by_release({release: counts[side][what] for release, counts in rows.items()})
            for side, what in columns
        ]
        body.append([project, shape.replace("x", " x "), *cells])
    return header, body


def of_builds(measured: list[Run]) -> Table:
    """Return the time of a build, and the calls of `new_group` in it."""
    header = [
        "torch",
        "ranks",
        "dims of size 1",
        "torch's",
        "ours",
        "ours / torch's",
        "`new_group` calls, torch's",
        "ours",
    ]
    body = []
    for run in measured:
        for about in abouts(run, "build", "world", "size_1"):
            calls = run.find("new_group calls", **about)["counts"]
            body.append(
                [
                    run.release,
                    f"{about['world']:,}",
                    about["size_1"],
                    told(run.seconds("torch", "build", **about)),
                    told(run.seconds("ours", "build", **about)),
                    digits(run.ratio("build", **about)),
                    f"{calls['torch']:,}",
                    f"{calls['ours']:,}",
                ]
            )
    return header, body


def of_memory(measured: list[Run]) -> Table:
    """Return the memory that a build adds to a process."""
    header = [
        "torch",
        "ranks",
        "dims of size 1",
        "peak, torch's",
        "peak, ours",
        "ours / torch's",
        "kept, torch's",
        "kept, ours",
    ]
    body = []
    for run in measured:
        for about in abouts(run, "memory", "world", "size_1"):
            counts = run.find("memory", **about)["counts"]
            theirs, ours = counts["torch"], counts["ours"]
            body.append(
                [
                    run.release,
                    f"{about['world']:,}",
                    about["size_1"],
                    f"{digits(theirs['peak'])} MiB",
                    f"{digits(ours['peak'])} MiB",
                    digits(memory_ratio(run, **about)),
                    f"{digits(theirs['after'])} MiB",
                    f"{digits(ours['after'])} MiB",
                ]
            )
    return header, body


def of_processes(measured: list[Run]) -> Table:
    """Return what a new process pays."""
    header = [
        "torch",
        "`import meshcompat` after `import torch`",
        "and all its names",
        "`meshcompat --help`",
        "a python that does nothing",
        "`meshcompat verify`, 8 ranks",
    ]
    cells = (
        ("ours", "import"),
        ("every name", "import"),
        ("ours", "help"),
        ("python", "help"),
        ("ours", "verify"),
    )
    body = [
        [run.release, *(told(run.seconds(side, topic)) for side, topic in cells)]
        for run in measured
    ]
    return header, body


def of_agreement(measured: list[Run]) -> Table:
    """Return what it costs that ranks compare."""
    header = [
        "torch",
        "one comparison, 8 ranks",
        "a root of 3 groups, compared",
        "not compared",
    ]
    body = [
        [
            run.release,
            told(run.seconds("ours", "agreement")),
            told(run.seconds("root, compared", "agreement")),
            told(run.seconds("root, not compared", "agreement")),
        ]
        for run in measured
    ]
    return header, body


def by_release(values: dict[str, int]) -> str:
    """Return a count, once where all releases agree, else with its releases."""
    releases: dict[int, list[str]] = {}
    for release, value in values.items():
        releases.setdefault(value, []).append(release)
    if len(releases) == 1:
        return str(next(iter(releases)))
    return ", ".join(f"{value} ({', '.join(where)})" for value, where in releases.items())


TABLES = {
    "runs": of_runs,
    "targets": of_targets,
    "lookups": of_lookups,
    "first-lookups": of_first_lookups,
    "groups": of_groups,
    "builds": of_builds,
    "memory": of_memory,
    "processes": of_processes,
    "agreement": of_agreement,
}


def table(part: str) -> Table:
    """Return one table of the page."""
    return TABLES[part](runs())
