"""The tables of docs/performance.md, from runs of benchmarks/, and not typed."""

import statistics
from collections.abc import Callable
from typing import NamedTuple

from performance import Run, runs
from records import Table

Columns = dict[str, Callable[..., str]]
"""What tells each cell of a run, or of a run and a number of ranks, by the head of its column."""

FLAT, IN_USE = "get_flat_mesh", "none"
VERBS = ("flatten", "unflatten", "concatenate", "get_submesh", "get_ranks", "get_group")
LARGE = {"call": FLAT, "world": 16384, "thread": "main"}


class Aim(NamedTuple):
    """What is to be reached: at most `limit`, or exactly nothing above it where that is 0."""

    words: str
    limit: float
    reached: Callable[[Run], float]
    tell: Callable[[float], str]

    def of(self, run: Run) -> str:
        """Return what a run reached, bold where it missed."""
        value = self.reached(run)
        return self.tell(value) if value <= self.limit else f"**{self.tell(value)}, misses**"


def told(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{digits(seconds / size)} {unit}"
    raise AssertionError


def digits(value: float) -> str:
    """Return a number with three digits, thousands apart; none beyond the point from 100 on."""
    if 0 < value < 0.01:
        return f"{value:.2g}"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    places = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{places}f}"


def count(value: float) -> str:
    """Return a number of things."""
    return f"{value:,.0f}"


def span(values: list[float], tell: Callable[[float], str]) -> str:
    """Return the smallest and the largest of ascending values, once where they read alike."""
    return " to ".join(dict.fromkeys([tell(values[0]), tell(values[-1])]))


def largest_memory(run: Run) -> float:
    """Return the largest peak of our builds, as a part of that of torch's."""
    found = [row["counts"] for row in run.all("memory")]
    return float(max(each["ours"]["peak"] / each["torch"]["peak"] for each in found))


def above_floor(side: str, floor: str) -> Callable[[Run], float]:
    """Return what counts the layouts in which a side holds more groups than there are sets of ranks."""
    return lambda run: sum(row["counts"][side] > row["counts"][floor] for row in run.all("groups"))


def left_by_destroy(run: Run) -> float:
    """Return how many groups and threads more a rank has after the last round."""
    counts = run.one("destroy")["counts"]
    return float(counts["groups"] + counts["threads"])


def slowest(topic: str) -> Callable[[Run], float]:
    """Return what finds our slowest time of a topic."""
    return lambda run: run.seconds("ours", topic)[-1]


def largest_build(world: int) -> Callable[[Run], float]:
    """Return what finds the largest part of torch's time that a build takes."""
    return lambda run: run.ratios("build", world=world)[-1]


AIMS = (
    Aim(
        "a look-up after the first under 0.3 µs: median of four, in three worlds and two threads",
        3e-7,
        lambda run: statistics.median(run.seconds("ours", "again")),
        told,
    ),
    Aim(
        "any other verb again, with lists or tuples of names, under 2 µs",
        2e-6,
        slowest("verb"),
        told,
    ),
    Aim(
        "a first look-up: at most 1.2 of torch's slice of the same ranks",
        1.2,
        lambda run: run.ratios("first")[-1],
        digits,
    ),
    *(
        Aim(
            f"a build at {world:,} ranks: at most {limit} of torch's",
            limit,
            largest_build(world),
            digits,
        )
        for world, limit in ((64, 0.8), (16384, 0.1), (131072, 0.05))
    ),
    Aim(
        "memory of a build at 131,072 ranks: less than torch's, part of its peak",
        1,
        largest_memory,
        digits,
    ),
    Aim(
        "layouts whose root and flattened dims hold more groups than sets of ranks",
        0,
        above_floor("ours, root and flattened", "floor, root and flattened"),
        count,
    ),
    Aim(
        "the same of everything, with `share_groups=True`",
        0,
        above_floor("ours, all shared", "floor"),
        count,
    ),
    Aim("groups and threads that 50 rounds of `destroy_mesh` leave", 0, left_by_destroy, count),
    Aim("`import meshcompat` after `import torch` under 10 ms", 0.01, slowest("import"), told),
    Aim("`meshcompat --help` under 150 ms", 0.15, slowest("help"), told),
    Aim(
        "modules of torch that it imports",
        0,
        lambda run: run.one("help imports")["counts"]["of torch"],
        count,
    ),
)


def pair(run: Run, topic: str, **about: object) -> str:
    """Return torch's time and ours."""
    times = [run.seconds(side, topic, **about)[0] for side in ("torch", "ours")]
    return " → ".join(map(told, times))


def calls(run: Run, world: int, what: str) -> str:
    """Return how often torch's build calls functions of a kind, and ours."""
    counts = run.one("calls", world=world, size_1=IN_USE)["counts"]
    return " → ".join(count(counts[side][what]) for side in ("torch", "ours"))


def groups_of_all_layouts(run: Run) -> str:
    """Return the groups that a rank holds, torch's and ours, summed over all layouts."""
    held = [row["counts"] for row in run.all("groups")]
    return " → ".join(count(sum(each[side] for each in held)) for side in ("torch", "ours"))


def peaks(run: Run) -> str:
    """Return the peak that a build adds, torch's and ours."""
    counts = run.one("memory", size_1=IN_USE)["counts"]
    return " → ".join(f"{digits(counts[side]['peak'])} MiB" for side in ("torch", "ours"))


def time(side: str, topic: str, **about: object) -> Callable[[Run], str]:
    """Return what tells the time of one side of a topic."""
    return lambda run: told(run.seconds(side, topic, **about)[0])


BY_RELEASE: dict[str, Columns] = {
    "runs": {
        "Python": lambda run: run.about["python"],
        "date": lambda run: run.about["date"],
        "processor": lambda run: run.about["cpu"],
        "cores": lambda run: str(run.about["cores"]),
    },
    "figures": {
        "a look-up at 16,384 ranks": lambda run: pair(run, "again", **LARGE),
        "a build at 16,384 ranks": lambda run: pair(run, "build", world=16384, size_1=IN_USE),
        "groups of a rank, all layouts below": groups_of_all_layouts,
    },
    "verbs": {f"`{verb}`": time("ours", "verb", call=verb) for verb in VERBS},
    "memory": {
        "peak of a build at 131,072 ranks": peaks,
        "part of torch's, with dims of size 1 too": lambda run: digits(largest_memory(run)),
        "left by 40 rounds of `destroy_mesh`": lambda run: (
            f"{digits(run.one('destroy')['counts']['MiB'])} MiB"
        ),
    },
    "processes": {
        "`import meshcompat`": time("ours", "import"),
        "and all its names": time("every name", "import"),
        "`meshcompat --help`": time("ours", "help"),
        "`meshcompat verify`": time("ours", "verify"),
    },
    "agreement": {
        "one comparison, 8 ranks": time("ours", "agreement"),
        "a root of 3 groups, compared": time("root, compared", "agreement"),
        "not compared": time("root, not compared", "agreement"),
    },
}

BY_WORLD: dict[str, tuple[str, Columns]] = {
    "lookups": (
        "again",
        {
            'torch\'s `mesh["tp"]`': lambda run, world: told(
                run.seconds("torch", "again", call=FLAT, world=world)[0]
            ),
            "ours, after the first": lambda run, world: span(
                run.seconds("ours", "again", world=world), told
            ),
            "a first one, part of torch's": lambda run, world: span(
                run.ratios("first", world=world), digits
            ),
        },
    ),
    "builds": (
        "build",
        {
            "time": lambda run, world: pair(run, "build", world=world, size_1=IN_USE),
            "part of torch's, with dims of size 1 too": lambda run, world: span(
                run.ratios("build", world=world), digits
            ),
            "calls of `new_group`": lambda run, world: calls(run, world, "new_group"),
            "calls of any function": lambda run, world: calls(run, world, "functions"),
        },
    ),
}


def of_releases(columns: Columns, measured: list[Run]) -> Table:
    """Return a table with a line for each release."""
    body = [[run.release, *(tell(run) for tell in columns.values())] for run in measured]
    return ["torch", *columns], body


def of_worlds(topic: str, columns: Columns, measured: list[Run]) -> Table:
    """Return a table with a line for each release and number of ranks."""
    return ["torch", "ranks", *columns], [
        [run.release, count(world), *(tell(run, world) for tell in columns.values())]
        for run in measured
        for world in run.worlds(topic)
    ]


def of_targets(measured: list[Run]) -> Table:
    """Return what was aimed at, and what every release reached."""
    body = [[aim.words, *(aim.of(run) for run in measured)] for aim in AIMS]
    return ["aim", *(run.release for run in measured)], body


def of_groups(measured: list[Run]) -> Table:
    """Return how many groups a rank holds for the meshes of each project."""
    header = ["meshes of", "shape", "torch's", "ours", "`share_groups=True`", "floor"]
    body = []
    for row in measured[-1].all("groups") if measured else ():
        about = {"project": row["project"], "shape": row["shape"]}
        counts = {run.release: run.one("groups", **about)["counts"] for run in measured}
        cells = [
            by_release({release: each[side] for release, each in counts.items()})
            for side in ("torch", "ours", "ours, all shared", "floor")
        ]
        body.append([row["project"], row["shape"].replace("x", " x "), *cells])
    return header, body


def by_release(values: dict[str, int]) -> str:
    """Return a count, once where all releases agree, else with its releases."""
    releases: dict[int, list[str]] = {}
    for release, value in values.items():
        releases.setdefault(value, []).append(release)
    if len(releases) == 1:
        return str(next(iter(releases)))
    return ", ".join(f"{value} ({', '.join(where)})" for value, where in releases.items())


OTHERS = {"targets": of_targets, "groups": of_groups}
NAMES = (*BY_RELEASE, *BY_WORLD, *OTHERS)


def table(part: str, measured: list[Run] | None = None) -> Table:
    """Return one table of the page, of the stored runs or of others."""
    measured = runs() if measured is None else measured
    if part in BY_RELEASE:
        return of_releases(BY_RELEASE[part], measured)
    if part in BY_WORLD:
        return of_worlds(*BY_WORLD[part], measured)
    return OTHERS[part](measured)
