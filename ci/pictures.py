"""The pictures of docs/performance.md, drawn from the runs in docs/data/performance/. Needs matplotlib (group `bench`).

`pictures.py` draws them; `pictures.py FOLDER` draws them as PNG into another folder, for a look at them.
"""

import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import performance
from matplotlib import pyplot as plt

mpl.use("svg")

# Okabe and Ito's colours, which the colour-blind tell apart.
OLD, NEW, OURS, GREY = "#D55E00", "#009E73", "#0072B2", "#555555"
DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
STYLE = {
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "meshcompat",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 110,
}


def lookups(measured: list[performance.Run]) -> Any:
    """Draw the cost of a look-up against the number of ranks, a line for each side and release."""
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    labels: list[tuple[float, str, str]] = []
    worlds = measured[-1].worlds("again")
    about = {"call": "get_flat_mesh", "thread": "main"}
    for index, run in enumerate(measured):
        for side, colour in (
            ("torch", OLD if run.builds_every_slice else NEW),
            ("ours", OURS),
            ("limit", GREY),
        ):
            seconds = [run.seconds(side, "again", world=world, **about)[0] for world in worlds]
            style = DASHES[index % len(DASHES)] if side == "torch" else "solid"
            axes.plot(
                worlds,
                seconds,
                color=colour,
                linestyle=style,
                linewidth=1.6 if side != "limit" else 1.0,
                marker="o" if side != "limit" else None,
                markersize=3.5,
            )
            if side == "torch":
                labels.append((seconds[-1], f'torch {run.release}, mesh["tp"]', colour))
    last = measured[-1]
    span = f"{measured[0].release} to {last.release}" if len(measured) > 1 else last.release
    edge = {"world": worlds[-1], **about}
    labels += [
        (last.seconds("ours", "again", **edge)[0], f"meshcompat, on torch {span}", OURS),
        (last.seconds("limit", "again", **edge)[0], "one call and one dict look-up", GREY),
    ]
    axes.set(xscale="log", yscale="log", ylabel="time of one look-up")
    axes.set_xlabel("ranks in the world", x=0.3)
    axes.set_xticks(worlds, [f"{world:,}" for world in worlds])
    axes.set_xlim(worlds[0] * 0.85, worlds[-1] * 18)
    powers = range(-8, 1)
    axes.set_yticks([10.0**power for power in powers], [power_told(power) for power in powers])
    axes.set_ylim(1e-8, 10 ** (math.ceil(math.log10(max(labels)[0]) + 0.2)))
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines["bottom"].set_bounds(worlds[0] * 0.85, worlds[-1])
    for place, (end, words, colour) in spread(labels):
        axes.annotate(
            words,
            xy=(worlds[-1], end),
            xytext=(worlds[-1] * 1.35, place),
            color=colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5)},
        )
    axes.set_title("Looking a mesh up by the name of its dim, after the first time", loc="left")
    return figure


def spread(labels: list[tuple[float, str, str]]) -> list[tuple[float, tuple[float, str, str]]]:
    """Return a height for every label, near its line and clear of its neighbours' by a third of a decade."""
    placed: list[tuple[float, tuple[float, str, str]]] = []
    lowest = -math.inf
    for label in sorted(labels):
        lowest = max(lowest + 0.36, math.log10(label[0]))
        placed.append((10**lowest, label))
    return placed


def power_told(power: int) -> str:
    """Return a power of ten of a second with its unit: 10 ns for -8."""
    unit, offset = next(
        each for each in (("s", 0), ("ms", -3), ("µs", -6), ("ns", -9)) if power >= each[1]
    )
    return f"{10 ** (power - offset)} {unit}"


def groups(measured: list[performance.Run]) -> Any:
    """Draw the groups that a rank holds for each layout: torch's, ours, and the floor."""
    run = measured[-1]
    rows = sorted(run.all("groups"), key=lambda row: (row["counts"]["torch"], row["project"]))
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.3), layout="constrained")
    sides = (
        ("torch", OLD, 0.27, f"torch {run.release}"),
        ("ours", OURS, 0.0, "meshcompat"),
        ("floor", "#777777", -0.27, "floor: distinct sets of ranks"),
    )
    for side, colour, shift, words in sides:
        counts = [row["counts"][side] for row in rows]
        places = [place + shift for place in range(len(rows))]
        axes.barh(places, counts, height=0.24, color=colour)
        for place, count in zip(places, counts, strict=True):
            axes.text(count + 0.08, place, str(count), va="center", fontsize=7, color="#222222")
        where = {"x": counts[-1] + 0.7, "y": places[-1], "va": "center"}
        axes.text(**where, s=words, color=colour, fontweight="bold", fontsize=7.5)
    names = [f"{row['project']}\n{row['shape'].replace('x', ' x ')}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    widest = max(row["counts"]["torch"] for row in rows)
    axes.set_xlim(0, widest + 6)
    axes.set_xticks(range(0, widest + 1, 2))
    axes.set_xlabel("process groups that a rank holds", x=0.35)
    axes.set_title("Process groups for the meshes of real frameworks", loc="left")
    return figure


def main(folder: Path, suffix: str) -> None:
    """Draw all pictures into a folder."""
    measured = performance.runs()
    with plt.rc_context(STYLE):
        for name, draw in (("lookups", lookups), ("groups", groups)):
            figure = draw(measured)
            metadata = {"Date": None, "Description": f"figures {performance.digest()}"}
            figure.savefig(
                folder / f"{name}.{suffix}",
                metadata=metadata if suffix == "svg" else None,
            )
            plt.close(figure)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), "png")
    else:
        main(performance.DRAWN, "svg")
