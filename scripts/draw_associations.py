"""Draw the features that go along with the metric most: their correlation over all cases, and what the extremes differ by.

One row a cluster of features that tell the same, by the feature that stands for it, coloured by what it tells of a tumour.

Inputs:  ``associations`` (associations.csv), ``stability`` (stability.csv) where it was asked for: it marks unstable features.
Outputs: ``figure`` (associations.png).
Params:  ``rank_by``, ``region``, ``mask``: what was analysed, for the chart's heading.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from glioflow.console import Console, count, run_script
from glioflow.failure.feature_groups import feature_groups
from glioflow.failure.radiomics_table import mark_unstable
from glioflow.files import read_table
from glioflow.report.claims import FALSE_DISCOVERIES, representatives
from glioflow.report.plotting import CHANNEL_NAMES, NULL_COLOUR, feature_title, meaning_colours, new_figure, save_figure
from glioflow.study.metric_registry import find_metric

SHOWN = 20
TITLE = "What goes along with failing"
HEADING_IN = 0.54  # height of title and heading, in inches
# The axis of d reaches no further than so many times the largest |d| or the band: an interval of few cases can be far wider.
WIDEST = 1.5
LINE_COLOUR = "#4d4d4d"


def shown_rows(associations: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are drawn, the first at the top: those with a rho, or where there is none, with a d."""
    table = representatives(associations)
    value = "spearman_rho" if table["spearman_rho"].notna().any() else "cohens_d"
    order = table[value].abs().sort_values(ascending=False, kind="stable").dropna().index
    return pd.DataFrame(table.loc[order].head(SHOWN))


def heading(associations: pd.DataFrame, rank_by: str, region: str, mask: str) -> str:
    """Return the line that names which cases and which voxels are shown."""
    blocks = associations[["image", "region"]].drop_duplicates().itertuples(index=False)
    places = ", ".join(f"{block.region} in {CHANNEL_NAMES.get(block.image, block.image)}" for block in blocks)
    patients = count(int(associations["n"].max()) if len(associations) else 0, "patient")
    return f"{patients} by {region} {find_metric(rank_by).name}; features of {places} ({mask} mask)"


def draw_associations(associations: pd.DataFrame, subtitle: str) -> Figure:
    """Return the chart of the rows that ``shown_rows`` gives, or a figure that says why there are none."""
    shown = shown_rows(associations)
    if shown.empty:
        figure = _headed_figure(1.3, subtitle)
        reasons = "; ".join(dict.fromkeys(associations["note"].dropna().astype(str))) or "no feature was computed"
        figure.text(0.012, 0.28, f"Nothing can be drawn: {reasons}.", fontsize=10, wrap=True)
        return figure
    figure = _headed_figure(2.3 + 0.235 * len(shown), subtitle)
    correlated = bool(shown["spearman_rho"].notna().any())
    panels = figure.subplots(1, 2 if correlated else 1, sharey=True, squeeze=False)[0]
    several = len(associations[["image", "region"]].drop_duplicates()) > 1
    panels[0].set_yticks(range(len(shown)), [row_label(row, several) for row in shown.to_dict("records")], fontsize=7.5)
    panels[0].set_ylim(len(shown) - 0.4, -0.6)
    colours = [meaning_colours()[group] for group in shown["meaning_group"]]
    found = (shown["q"] < FALSE_DISCOVERIES).to_numpy()
    if correlated:
        _draw_dots(panels[0], shown, ("spearman_rho", "rho_ci_low", "rho_ci_high"), colours, found)
        panels[0].set_xlim(-1.02, 1.02)
        panels[0].set_xlabel("Spearman's ρ, all cases\n(95 % interval; filled: q < 0.05)", fontsize=8.5)
    _draw_effects(panels[-1], shown, colours, found)
    handles = [
        Patch(color=meaning_colours()[name], label=group.title)
        for name, group in feature_groups().items()
        if name in set(shown["meaning_group"])
    ]
    handles += [Patch(color=NULL_COLOUR, label="what random rankings reach")] if correlated else []
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2, handlelength=1.1)
    return figure


def row_label(row: dict[Any, Any], several: bool) -> str:
    """Return the name of a row: the feature, how many it stands for, and where the chart has several places, which."""
    place = f"{CHANNEL_NAMES.get(row['image'], row['image'])} {row['region']} · " if several else ""
    others = row["stands_for"] - 1
    mark = ", unstable" if row.get("unstable") else ""
    return f"{place}{feature_title(row['feature'])}{mark}{f' (+{others})' if others else ''}"


def _draw_effects(axes: Axes, shown: pd.DataFrame, colours: list[str], found: NDArray[np.bool_]) -> None:
    """Draw d with its interval over the band of chance; an infinite one is an arrow at the edge."""
    d, band = shown["cohens_d"].to_numpy(float), float(shown["d_null_95"].iloc[0])
    sizes = np.abs([*d[np.isfinite(d)], *([band] if np.isfinite(band) else [])])
    limit = WIDEST * float(sizes.max(initial=0.0)) or 1.0
    if not np.isnan(band):
        axes.axvspan(-min(band, limit), min(band, limit), color=NULL_COLOUR, linewidth=0, zorder=0)
    _draw_dots(axes, shown, ("cohens_d", "d_ci_low", "d_ci_high"), colours, found)
    for place in np.flatnonzero(np.isinf(d)):
        side = float(np.sign(d[place]))
        axes.plot([side * limit * 0.97], [place], marker=">" if side > 0 else "<", color=colours[place], markersize=6)
    axes.set_xlim(-limit, limit)
    worst, best = (int(shown[column].max()) for column in ("n_worst", "n_best"))
    axes.set_xlabel(f"Cohen's d, {worst} worst − {best} best\n(95 % interval)", fontsize=8.5)


def _draw_dots(
    axes: Axes, shown: pd.DataFrame, columns: tuple[str, str, str], colours: list[str], found: NDArray[np.bool_]
) -> None:
    """Draw a value with its interval in each row, filled where the feature is found."""
    value, low, high = (shown[column].to_numpy(float) for column in columns)
    for place, colour in enumerate(colours):
        if np.isfinite(value[place]):
            line = Line2D([low[place], high[place]], [place, place], color=colour, linewidth=1.6, zorder=2)
            axes.add_line(line)
            fill = colour if found[place] else "white"
            axes.plot([value[place]], [place], "o", markersize=5, markerfacecolor=fill, markeredgecolor=colour, zorder=3)
    axes.axvline(0, color=LINE_COLOUR, linewidth=0.8, zorder=1)
    axes.grid(axis="y", visible=False)


def _headed_figure(height_in: float, subtitle: str) -> Figure:
    figure = new_figure(7.2, height_in)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - HEADING_IN / height_in))  # type: ignore[call-arg, union-attr]
    figure.text(0.012, 1 - 0.1 / height_in, TITLE, va="top", fontsize=11, fontweight="bold")
    figure.text(0.012, 1 - 0.33 / height_in, subtitle, va="top", fontsize=8.5, color=LINE_COLOUR)
    return figure


def main(snakemake: Any, console: Console) -> str:
    """Write the chart."""
    params, stability = snakemake.params, getattr(snakemake.input, "stability", "")
    associations = mark_unstable(read_table(snakemake.input.associations), read_table(stability) if stability else None)
    subtitle = heading(associations, params.rank_by, params.region, params.mask)
    save_figure(draw_associations(associations, subtitle), snakemake.output.figure)
    return f"{count(len(shown_rows(associations)), 'feature')} drawn"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
