"""Draw the largest effect sizes as a bar chart, coloured by feature class.

Inputs:  ``effects`` (effects.csv).
Outputs: ``figure`` (effects.png).
Params:  ``rank_by``, ``region``, ``image``, ``mask``: what was compared, for the chart's heading.
"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from glioflow.console import Console, count, run_script
from glioflow.files import read_table
from glioflow.report.plotting import (
    CHANNEL_NAMES,
    FEATURE_GROUP_COLOURS,
    FEATURE_GROUP_NAMES,
    feature_title,
    new_figure,
    save_figure,
)
from glioflow.study.metric_registry import find_metric

SHOWN = 20
TITLE = "What sets the worst cases apart"
HEADING_IN = 0.54  # height of title and heading, in inches


def heading(effects: pd.DataFrame, rank_by: str, region: str, image: str, mask: str) -> str:
    """Return the line that names which cases and which voxels the effect sizes compare."""
    worst, best = int(effects["n_worst"].max()), int(effects["n_best"].max())
    return (
        f"{worst} worst and {count(best, 'best case')} by {region} {find_metric(rank_by).name}; "
        f"features of {region} ({mask} mask) in {CHANNEL_NAMES.get(image, image)}"
    )


def draw_effects(effects: pd.DataFrame, subtitle: str) -> Figure:
    """Return the bar chart of the largest ``SHOWN`` effects in ``effects`` (sorted), or a figure saying there are none."""
    shown = effects[effects["cohens_d"].notna()].head(SHOWN)
    if shown.empty:
        figure = _headed_figure(1.3, subtitle)
        reasons = "; ".join(str(note) for note in effects["note"].dropna().unique())
        figure.text(0.012, 0.28, f"No effect size is defined: {reasons}.", fontsize=10, wrap=True)
        return figure
    figure = _headed_figure(1.85 + 0.235 * len(shown), subtitle)
    axes = figure.subplots()
    values, groups = shown["cohens_d"].to_numpy(float), list(shown["feature_group"])
    axes.barh(range(len(shown)), values, height=0.74, color=[FEATURE_GROUP_COLOURS[group] for group in groups])
    axes.axvline(0, color="#4d4d4d", linewidth=0.8)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    room = 0.13 * (high - low) or 1.0  # for the numbers beside the bars
    axes.set_xlim(low - room if low < 0 or high == 0 else 0.0, high + room if high > 0 or low == 0 else 0.0)
    for position, value in enumerate(values):
        axes.annotate(
            f"{value:+.2f}".replace("-", "−"),
            (value, position),
            xytext=(3 if value > 0 else -3, 0),
            textcoords="offset points",
            va="center_baseline",
            ha="left" if value > 0 else "right",
            fontsize=7.5,
        )
    axes.set_yticks(range(len(shown)), [feature_title(feature) for feature in shown["feature"]])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Cohen's d, worst minus best\n(positive: larger in the worst cases)")
    handles = [
        Patch(color=colour, label=FEATURE_GROUP_NAMES[group])
        for group, colour in FEATURE_GROUP_COLOURS.items()
        if group in groups
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), columnspacing=1.2, handlelength=1.1)
    return figure


def _headed_figure(height_in: float, subtitle: str) -> Figure:
    figure = new_figure(7.2, height_in)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - HEADING_IN / height_in))  # type: ignore[call-arg, union-attr]
    figure.text(0.012, 1 - 0.1 / height_in, TITLE, va="top", fontsize=11, fontweight="bold")
    figure.text(0.012, 1 - 0.33 / height_in, subtitle, va="top", fontsize=8.5, color="#4d4d4d")
    return figure


def main(snakemake: Any, console: Console) -> str:
    """Write the chart."""
    effects = read_table(snakemake.input.effects)
    params = snakemake.params
    figure = draw_effects(effects, heading(effects, params.rank_by, params.region, params.image, params.mask))
    save_figure(figure, snakemake.output.figure)
    return f"{count(min(SHOWN, int(effects['cohens_d'].notna().sum())), 'effect size')} drawn"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
