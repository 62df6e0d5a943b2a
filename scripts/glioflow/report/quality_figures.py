"""The figures of volumes and shape: predicted against true, differences, volumes over sessions, shape by covariate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import blended_transform_factory

from glioflow.formatting import MINUS, number, significant
from glioflow.report.figures import MEAN_COLOUR, MEAN_DASHES, MOST_VECTOR_POINTS, WIDTH_IN
from glioflow.report.plotting import REGION_COLOURS, new_figure

# Of a session whose category is another one in the prediction; the colour is of Okabe & Ito.
CROSS: dict[str, Any] = {"color": "#D55E00", "linestyle": "none", "marker": "x", "markersize": 7, "markeredgewidth": 1.8}
FEATURE_WORDS = {
    "ellipsoid_ratio": "Ellipsoid ratio",
    "angular_sd": "Angular SD",
    "margin_fluctuation": "Margin fluctuation",
}
TEST_WORDS = {"fisher": "above / below the median", "kruskal": "continuous"}
# p from here on down has the darkest colour of the heat map.
SMALLEST_P = 1e-4
CROWDED_LINES = 25


def draw_agreement(volumes: pd.DataFrame, agreement: Sequence[Mapping[str, Any]]) -> Figure:
    """Return predicted against true values, and differences against means: a row of two panels a measure, every case a point.

    ``volumes``: volumes.csv; ``agreement``: the rows of agreement.csv to draw.
    """
    figure = new_figure(WIDTH_IN, 3.6 * len(agreement))
    for axes, row in zip(figure.subplots(len(agreement), 2, squeeze=False), agreement, strict=True):
        cases = volumes[(volumes["measure"] == row["measure"]) & volumes["truth"].notna() & volumes["prediction"].notna()]
        truth, prediction = (cases[who].to_numpy(float) for who in ("truth", "prediction"))
        unit = "ml" if row["unit"] == "ml" else row["unit"]
        colour = REGION_COLOURS[row["measure"].partition("/")[0]]
        _draw_identity(axes[0], truth, prediction, colour)
        axes[0].set_title(f"{row['measure']}: predicted against true")
        axes[0].set_xlabel(f"truth ({unit})")
        axes[0].set_ylabel(f"prediction ({unit})")
        axes[0].text(0.03, 0.97, agreement_words(row), transform=axes[0].transAxes, va="top", fontsize=8.5)
        _draw_differences(axes[1], (truth + prediction) / 2, prediction - truth, row, colour)
        axes[1].set_title(f"{row['measure']}: difference against mean")
        axes[1].set_xlabel(f"mean of truth and prediction ({unit})")
        axes[1].set_ylabel(f"prediction {MINUS} truth ({unit})")
    handles = [
        Line2D([], [], color="#8a9099", linewidth=1, label="prediction equals truth"),
        Line2D([], [], color=MEAN_COLOUR, linewidth=1.4, label="mean difference"),
        Line2D([], [], color=MEAN_COLOUR, linewidth=2, marker="o", markersize=4, label="95 % CI, beside the panel"),
        Line2D([], [], color=MEAN_COLOUR, linewidth=1.2, linestyle=MEAN_DASHES, label="limits of agreement"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def agreement_words(row: Mapping[str, Any]) -> str:
    """Return correlation, concordance and number of patients, a line each; the reason where there is no correlation."""
    patients = f"n = {int(row['patients'])} patients" if row["patients"] == row["n"] else _both_counts(row)
    if pd.isna(row["pearson_r"]):
        return f"no correlation: {row['note']}\n{patients}"
    return f"r² = {number(row['r2'], 2)} (r = {number(row['pearson_r'], 2)})\nLin's CCC = {number(row['ccc'], 2)}\n{patients}"


def _both_counts(row: Mapping[str, Any]) -> str:
    return f"n = {int(row['patients'])} patients, {int(row['n'])} cases"


def _scatter(axes: Axes, x: Any, y: Any, colour: str) -> None:
    axes.scatter(
        x, y, s=20, color=to_rgba(colour, 0.75), edgecolors="white", linewidths=0.5, zorder=3,
        rasterized=len(x) > MOST_VECTOR_POINTS,
    )  # fmt: skip


def _draw_identity(axes: Axes, truth: Any, prediction: Any, colour: str) -> None:
    top = 1.06 * max(float(np.concatenate([truth, prediction]).max()), 1e-9)
    axes.plot([0, top], [0, top], color="#8a9099", linewidth=1, zorder=1)
    _scatter(axes, truth, prediction, colour)
    axes.set_xlim(-0.03 * top, top)
    axes.set_ylim(-0.03 * top, top)
    axes.set_aspect("equal")


def _draw_differences(axes: Axes, means: Any, differences: Any, row: Mapping[str, Any], colour: str) -> None:
    _scatter(axes, means, differences, colour)
    if pd.isna(row["bias"]):
        axes.axhline(0, color="#8a9099", linewidth=1)
        return
    edge, shown = blended_transform_factory(axes.transAxes, axes.transData), list(differences)
    for place, name in zip((1.05, 1.08, 1.02), ("bias", "limit_low", "limit_high"), strict=True):
        dashes = "-" if name == "bias" else MEAN_DASHES
        ends = (row[f"{name}_ci_low"], row[f"{name}_ci_high"])
        shown += ends
        axes.axhline(row[name], color=MEAN_COLOUR, linewidth=1.3, linestyle=dashes, zorder=2)
        # Intervals stand beside the panel, side by side: with few patients they overlap.
        axes.plot((place, place), ends, color=MEAN_COLOUR, linewidth=2, transform=edge, clip_on=False, solid_capstyle="butt")
        axes.plot(place, row[name], color=MEAN_COLOUR, marker="o", markersize=4, transform=edge, clip_on=False)
        axes.annotate(significant(row[name], 3), (1.11, row[name]), xycoords=edge, va="center", fontsize=8)
    room = 0.05 * (max(shown) - min(shown)) or 1.0
    axes.set_ylim(min(shown) - room, max(shown) + room)


def draw_sessions(sessions: pd.DataFrame) -> Figure:
    """Return the volumes over the sessions, a line a patient: a row of two panels a region, truth and prediction.

    ``sessions``: sessions.csv. Sessions whose category differs between the two have a cross in both.
    """
    regions = list(dict.fromkeys(sessions["region"]))
    # One axis needs one unit: where a patient's sessions are not dated, or otherwise, all are counted.
    units = list(sessions["session_unit"].unique())
    timed = bool(sessions["session_time"].notna().all()) and len(units) == 1
    figure = new_figure(WIDTH_IN, 3.0 * len(regions))
    grid = figure.subplots(len(regions), 2, sharex=True, sharey="row", squeeze=False)
    strength = 0.9 if sessions["patient_id"].nunique() <= CROWDED_LINES else 0.4
    for axes, region in zip(grid, regions, strict=True):
        rows = sessions[sessions["region"] == region]
        for panel, who in zip(axes, ("truth", "prediction"), strict=True):
            for _, own in rows.groupby("patient_id", sort=False):
                x, y = own["session_time" if timed else "session"], own[f"volume_{who}_ml"]
                panel.plot(x, y, color=REGION_COLOURS[region], alpha=strength, linewidth=1.1, marker="o", markersize=3)
                flips = own["flipped"].fillna(False).astype(bool)
                panel.plot(x[flips], y[flips], **CROSS)
            panel.set_title(f"{region}, {who}")
            panel.set_yscale("symlog", linthresh=1)
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        smallest = float(rows[["volume_truth_ml", "volume_prediction_ml"]].min().min())
        axes[0].set_ylim(bottom=smallest / 2 if smallest >= 1 else 0)
        axes[0].set_ylabel("volume in ml (logarithmic above 1)")
    for panel in grid[-1]:
        panel.set_xlabel(f"{units[0]} since the first session" if timed else "session")
        if not timed:
            panel.set_xticks(range(1, int(sessions["session"].max()) + 1))
    handles = [Line2D([], [], label="other response category than in the other mask", **CROSS)]
    figure.legend(handles=handles, loc="outside lower center")
    return figure


def draw_shape_associations(associations: pd.DataFrame, false_discoveries: float) -> Figure:
    """Return p of every covariate and shape feature as a heat map, a panel a mask; bold where q is below ``false_discoveries``.

    ``associations``: shape_covariates.csv, tested rows only.
    """
    covariates, masks = (list(dict.fromkeys(associations[name])) for name in ("covariate", "mask"))
    features = [name for name in FEATURE_WORDS if (associations["feature"] == name).any()]
    columns = [(feature, test) for feature in features for test in TEST_WORDS]
    figure = new_figure(WIDTH_IN, 1.9 + 0.3 * len(covariates))
    panels = figure.subplots(1, len(masks), sharey=True, squeeze=False)[0]
    by_name = {(row["mask"], row["covariate"], row["feature"]): row for row in associations.to_dict("records")}
    colours = ScalarMappable(Normalize(0, -np.log10(SMALLEST_P)), "Blues")
    for axes, mask in zip(panels, masks, strict=True):
        values = np.full((len(covariates), len(columns)), np.nan)
        for line, covariate in enumerate(covariates):
            for place, (feature, test) in enumerate(columns):
                row: Mapping[Any, Any] = by_name.get((mask, covariate, feature), {})
                if pd.isna(p := row.get(f"{test}_p", np.nan)):
                    continue
                values[line, place] = -np.log10(max(p, SMALLEST_P))
                found = row[f"{test}_q"] < false_discoveries
                axes.text(
                    place, line, _short_p(p), ha="center", va="center", fontsize=7, fontweight="bold" if found else "normal",
                    color="white" if values[line, place] > 0.55 * -np.log10(SMALLEST_P) else MEAN_COLOUR,
                )  # fmt: skip
        axes.imshow(values, cmap=colours.cmap, norm=colours.norm, aspect="auto")
        names = [f"{FEATURE_WORDS[feature]}, {TEST_WORDS[test]}" for feature, test in columns]
        axes.set_xticks(range(len(columns)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(covariates)), covariates, fontsize=8)
        axes.grid(visible=False)
        axes.set_title(f"{mask} masks")
    bar = figure.colorbar(colours, ax=panels, shrink=0.8, ticks=[0, 1, 2, 3, 4])
    bar.ax.set_yticklabels(["1", "0.1", "0.01", "0.001", "0.0001"], fontsize=7)
    bar.set_label("p", fontsize=8)
    return figure


def _short_p(p: float) -> str:
    return f"{p:.1e}".replace("e-0", "e-") if p < 0.001 else f"{p:.2g}"
