"""The tables of docs/performance.md, and what its pictures show: from runs of benchmarks/, and not typed.

`python -m pytest benchmarks --record` writes a run into docs/performance/, one file a release. tables.py makes the
tables of the page of them, pictures.py the pictures.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

STORED = Path(__file__).parent.parent / "docs" / "performance"
PICTURES = ("lookups", "groups")
CALLS = ("get_flat_mesh", "get_submesh", "get_root_mesh", "get_axis_size")
LOOKUP = ("call", "world", "thread")
MISSED = "misses"

Row = dict[str, Any]
Table = tuple[list[str], list[list[str]]]


class Run(NamedTuple):
    """One run of all benchmarks on one release."""

    about: Row
    rows: list[Row]

    @property
    def release(self) -> str:
        """The release of torch."""
        return str(self.about["torch"])

    @property
    def builds_every_slice(self) -> bool:
        """Whether torch makes the mesh of every subgroup when it slices: up to 2.9."""
        return order(self.release) < [2, 10]

    def find(self, topic: str, **about: object) -> Row:
        """Return the row about this.

        Raises:
            LookupError: The run has none, or several.
        """
        wanted = {"topic": topic, **about}
        found = [row for row in self.rows if wanted.items() <= row.items()]
        if len(found) != 1:
            raise LookupError(f"the run on {self.release} has {len(found)} rows about {wanted}")
        return found[0]

    def worlds(self, topic: str) -> list[int]:
        """Return the numbers of ranks that were measured, ascending."""
        return sorted({row["world"] for row in self.rows if row["topic"] == topic})

    def seconds(self, side: str, topic: str, **about: object) -> float:
        """Return the time of one side: its best turn, which nothing else on the machine made longer."""
        return float(self.find(topic, **about)["sides"][side]["min"])

    def ratio(self, topic: str, **about: object) -> float:
        """Return our time as a part of torch's."""
        return self.seconds("ours", topic, **about) / self.seconds("torch", topic, **about)


def order(release: str) -> list[int]:
    """Return what sorts releases: 2.9.1 before 2.10.0."""
    return [int(part) for part in release.split(".")]


def runs(stored: Path = STORED) -> list[Run]:
    """Return the stored runs, oldest release first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(stored.glob("*.json"))]
    return sorted(
        (Run(each["run"], each["rows"]) for each in found), key=lambda run: order(run.release)
    )


# Words


def told(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{digits(seconds / size)} {unit}"
    raise AssertionError


def digits(value: float) -> str:
    """Return a number with three digits, thousands apart; none beyond the point from 100 on."""
    if value < 0.01:
        return f"{value:.2g}"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    places = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{places}f}"


def by_release(values: dict[str, int]) -> str:
    """Return a count, once where all releases agree, else with its releases."""
    releases: dict[int, list[str]] = {}
    for release, value in values.items():
        releases.setdefault(value, []).append(release)
    if len(releases) == 1:
        return str(next(iter(releases)))
    return ", ".join(f"{value} ({', '.join(where)})" for value, where in releases.items())


# Tables


def of_runs(measured: list[Run]) -> Table:
    """Return what was measured where and when."""
    keys = ("torch", "python", "date", "cpu", "cores")
    header = ["torch", "Python", "date", "processor", "cores"]
    return header, [[str(run.about[key]) for key in keys] for run in measured]


def of_lookups(measured: list[Run]) -> Table:
    """Return look-ups after the first, beside torch's slice and the least that a call costs."""
    header = [
        "torch",
        "ranks",
        'torch\'s `mesh["tp"]`',
        *(f"`{call}`" for call in CALLS),
        "slowest of these in a second thread",
        "one call and one dict look-up",
        "`get_flat_mesh` is faster than the slice",
    ]
    body = []
    for run in measured:
        for world in run.worlds("again"):
            about = {"world": world, "thread": "main"}
            flat = {"call": CALLS[0], **about}
            body.append(
                [
                    run.release,
                    f"{world:,}",
                    told(run.seconds("torch", "again", **flat)),
                    *(told(run.seconds("ours", "again", call=call, **about)) for call in CALLS),
                    told(slowest(run, world, "second")),
                    told(run.seconds("limit", "again", **flat)),
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
        "store operations of rank 0",
        "of another rank",
        "a root of 3 groups, compared",
        "not compared",
    ]
    body = []
    for run in measured:
        asked = run.find("store operations")["counts"]
        body.append(
            [
                run.release,
                told(run.seconds("ours", "agreement")),
                str(asked["rank 0"]),
                str(asked["other ranks"]),
                told(run.seconds("root, compared", "agreement")),
                told(run.seconds("root, not compared", "agreement")),
            ]
        )
    return header, body


def of_targets(measured: list[Run]) -> Table:
    """Return what was aimed at, and what every release reached."""
    body = [[words, *(reach(run) for run in measured)] for words, reach in targets(measured)]
    return ["aim", *(run.release for run in measured)], body


def targets(measured: list[Run]) -> Iterator[tuple[str, Callable[[Run], str]]]:
    """Yield each aim in words, and what tells of a run whether it was reached."""
    yield (
        "a look-up after the first under 0.3 µs: any of the four, any world, any thread",
        lambda run: verdict(told(slowest(run)), reached=slowest(run) < 0.3e-6),
    )
    for world, old, new in ((64, 1000, 500), (16384, 100_000, 1500)):
        words = f"`get_flat_mesh` at {world:,} ranks faster than torch's slice by {old:,} times"
        yield (
            f"{words}, from 2.10 on by {new:,}",
            lambda run, world=world, old=old, new=new: _times(  # type: ignore[misc]
                run, world, old if run.builds_every_slice else new
            ),
        )
    yield (
        "a first look-up takes at most torch's time: largest part of it, any world, any thread",
        lambda run: _at_most(
            max(run.ratio("first", **about) for about in abouts(run, "first", *LOOKUP)), 1
        ),
    )
    count = len(list(layouts(measured)))
    for words, ours, floor in (
        ("root and flattened dims", "ours, root and flattened", "floor, root and flattened"),
        ("everything with `share_groups=True`", "ours, all shared", "floor"),
    ):
        yield (
            f"groups of {words} are as few as the sets of ranks: of {count} layouts",
            lambda run, ours=ours, floor=floor: _at_floor(run, ours, floor),  # type: ignore[misc]
        )
    for size_1, words in (
        ("dp_replicate, cp", "with two dims of size 1"),
        ("none", "of no such dim"),
    ):
        for world, limit in ((64, 1.0), (16384, 0.7), (131072, 0.7)):
            yield (
                f"a build at {world:,} ranks, {words}, takes at most {limit:g} of torch's time",
                lambda run, world=world, size_1=size_1, limit=limit: _at_most(  # type: ignore[misc]
                    run.ratio("build", world=world, size_1=size_1), limit
                ),
            )
        yield (
            f"a build at 131,072 ranks, {words}, takes less memory than torch's: part of its peak",
            lambda run, size_1=size_1: _at_most(  # type: ignore[misc]
                memory_ratio(run, world=131072, size_1=size_1), 1
            ),
        )
    for words, topic, seconds in (
        ("`import meshcompat` after `import torch` under 10 ms", "import", 0.010),
        ("`meshcompat --help` under 150 ms", "help", 0.150),
    ):
        yield (
            words,
            lambda run, topic=topic, seconds=seconds: verdict(  # type: ignore[misc]
                told(run.seconds("ours", topic)), reached=run.seconds("ours", topic) < seconds
            ),
        )
    yield (
        "`meshcompat --help` imports no module of torch",
        lambda run: verdict(
            str(run.find("help imports")["counts"]["of torch"]),
            reached=run.find("help imports")["counts"]["of torch"] == 0,
        ),
    )


def verdict(words: str, *, reached: bool) -> str:
    """Return what was reached, and say so where it is not enough."""
    return words if reached else f"**{words}, {MISSED}**"


def _at_most(value: float, limit: float) -> str:
    return verdict(digits(value), reached=value <= limit)


def _times(run: Run, world: int, least: int) -> str:
    times = 1 / run.ratio("again", call=CALLS[0], world=world, thread="main")
    return verdict(digits(times), reached=times >= least)


def _at_floor(run: Run, ours: str, floor: str) -> str:
    rows = [row["counts"] for row in run.rows if row["topic"] == "groups"]
    equal = sum(counts[ours]["groups"] == counts[floor]["groups"] for counts in rows)
    return verdict(str(equal), reached=equal == len(rows))


def abouts(run: Run, topic: str, *keys: str) -> Iterator[Row]:
    """Yield what each row of a topic is about, as far as these keys tell."""
    for row in run.rows:
        if row["topic"] == topic:
            yield {key: row[key] for key in keys}


def slowest(run: Run, world: int | None = None, thread: str | None = None) -> float:
    """Return the slowest look-up after the first, in seconds."""
    return max(
        run.seconds("ours", "again", **about)
        for about in abouts(run, "again", *LOOKUP)
        if world in {None, about["world"]} and thread in {None, about["thread"]}
    )


def memory_ratio(run: Run, **about: object) -> float:
    """Return the peak of our build as a part of that of torch's."""
    counts = run.find("memory", **about)["counts"]
    return float(counts["ours"]["peak"] / counts["torch"]["peak"])


def layouts(measured: list[Run]) -> Iterator[tuple[str, str]]:
    """Yield project and shape of every layout, as they were measured on the newest release."""
    for row in measured[-1].rows if measured else ():
        if row["topic"] == "groups":
            yield row["project"], row["shape"]


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


# Pictures


def digest(stored: Path = STORED) -> str:
    """Return what changes when any figure changes that a picture shows; pictures carry it."""
    shown = [
        [run.release, [row for row in run.rows if row["topic"] in {"again", "groups"}]]
        for run in runs(stored)
    ]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def stale_pictures(stored: Path = STORED) -> list[Path]:
    """Return the pictures that do not show the stored figures; there are none of no run."""
    pictures = [stored / f"{name}.svg" for name in PICTURES if runs(stored)]
    return [
        path
        for path in pictures
        if not path.exists() or digest(stored) not in path.read_text(encoding="utf-8")
    ]
