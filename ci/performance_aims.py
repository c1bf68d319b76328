"""What docs/performance.md aims at, and what each release reached of it."""

from collections.abc import Callable, Iterator

from performance import CALLS, LOOKUP, Run, abouts, layouts, memory_ratio, slowest

MISSED = "misses"


def of_targets(measured: list[Run]) -> tuple[list[str], list[list[str]]]:
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


def _at_most(value: float, limit: float) -> str:
    return verdict(digits(value), reached=value <= limit)


def _times(run: Run, world: int, least: int) -> str:
    times = 1 / run.ratio("again", call=CALLS[0], world=world, thread="main")
    return verdict(digits(times), reached=times >= least)


def _at_floor(run: Run, ours: str, floor: str) -> str:
    rows = [row["counts"] for row in run.rows if row["topic"] == "groups"]
    equal = sum(counts[ours]["groups"] == counts[floor]["groups"] for counts in rows)
    return verdict(str(equal), reached=equal == len(rows))


def verdict(words: str, *, reached: bool) -> str:
    """Return what was reached, and say so where it is not enough."""
    return words if reached else f"**{words}, {MISSED}**"


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
