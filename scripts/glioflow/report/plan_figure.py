"""The plan of a study as a picture: its rules in rows, makers above readers, a line for each that reads what another made."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from glioflow.report.plotting import new_figure

ROW_IN, WIDTH_IN = 0.52, 9.0
SWEEPS = 12  # in which neighbours draw rows into order, down and up
LINE_COLOUR, BOX_COLOUR, EDGE_COLOUR = "#9aa5b1", "#eef3f8", "#4d4d4d"
Node = str | tuple[str, str, int]  # a rule, or where a line from one rule to another crosses a row


def needed_links(reads: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the pairs of maker and reader that no longer way through other rules tells already, in order."""
    above: dict[str, set[str]] = {}
    for rule, makers in reads.items():  # makers come before readers
        above[rule] = {*makers, *(far for maker in makers for far in above[maker])}
    return [
        (maker, rule)
        for rule, makers in reads.items()
        for maker in makers
        if not any(maker in above[other] for other in makers if other != maker)
    ]


def rows_of(reads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the row of each rule: one below the lowest of those that it reads from."""
    rows: dict[str, int] = {}
    for rule, makers in reads.items():
        rows[rule] = 1 + max((rows[maker] for maker in makers), default=-1)
    return rows


def place_rules(reads: Mapping[str, Sequence[str]]) -> tuple[dict[Node, tuple[float, int]], list[list[Node]]]:
    """Return where each rule stands, as a share of the width and a row, and the points that each line passes."""
    rows = rows_of(reads)
    levels: list[list[Node]] = [[] for _ in range(max(rows.values(), default=-1) + 1)]
    for rule, row in rows.items():
        levels[row].append(rule)
    lines: list[list[Node]] = []
    for maker, reader in needed_links(reads):
        between: list[Node] = [(maker, reader, row) for row in range(rows[maker] + 1, rows[reader])]
        for row, node in enumerate(between, start=rows[maker] + 1):
            levels[row].append(node)
        lines.append([maker, *between, reader])
    steps = [(line[place], line[place + 1]) for line in lines for place in range(len(line) - 1)]
    upper: dict[Node, list[Node]] = {}
    lower: dict[Node, list[Node]] = {}
    for first, second in steps:
        upper.setdefault(second, []).append(first)
        lower.setdefault(first, []).append(second)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for level in levels[1:] if down else levels[-2::-1]:
            spots = {node: (place + 0.5) / len(each) for each in levels for place, node in enumerate(each)}
            beside = upper if down else lower
            pull = {
                node: sum(spots[other] for other in beside[node]) / len(beside[node]) if node in beside else spots[node]
                for node in level
            }
            level.sort(key=pull.__getitem__)
    places = {node: ((place + 0.5) / len(level), row) for row, level in enumerate(levels) for place, node in enumerate(level)}
    return places, lines


def draw_plan(reads: Mapping[str, Sequence[str]], jobs: Mapping[str, int]) -> Figure:
    """Return the picture of a plan.

    Parameters
    ----------
    reads
        Rule to the rules whose outputs it reads, makers before readers.
    jobs
        Rule to the number of its jobs.
    """
    places, lines = place_rules(reads)
    height = 1 + max((row for _, row in places.values()), default=0)
    figure = new_figure(WIDTH_IN, ROW_IN * height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 1)
    axes.set_ylim(height - 0.5, -0.5)
    axes.axis("off")
    for line in lines:
        points: list[tuple[float, float]] = [places[node] for node in line]
        vertices, codes = [points[0]], [Path.MOVETO]
        for (x, y), (to_x, to_y) in pairwise(points):
            middle = (y + to_y) / 2
            vertices += [(x, middle), (to_x, middle), (to_x, to_y)]
            codes += [Path.CURVE4] * 3
        axes.add_patch(PathPatch(Path(vertices, codes), facecolor="none", edgecolor=LINE_COLOUR, linewidth=1.0, zorder=1))
    for node, (x, row) in places.items():
        if isinstance(node, str):
            name = node if jobs[node] == 1 else f"{node} × {jobs[node]}"
            box = {"boxstyle": "round,pad=0.32", "facecolor": BOX_COLOUR, "edgecolor": EDGE_COLOUR, "linewidth": 0.7}
            axes.text(x, row, name, ha="center", va="center", fontsize=7.5, bbox=box, zorder=2)
    return figure
