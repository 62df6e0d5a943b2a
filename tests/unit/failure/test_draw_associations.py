"""The chart shows the table's largest effects, in its order, with sign and class."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import draw_effects
from glioflow.console import Console
from glioflow.failure.radiomics import FEATURE_GROUPS, feature_names
from glioflow.files import write_table
from glioflow.report.plotting import FEATURE_GROUP_COLOURS, FEATURE_GROUP_NAMES, feature_title


def effects(values: list[float]) -> pd.DataFrame:
    """Return an effect table with a feature of each class in turn."""
    groups = [FEATURE_GROUPS[i % len(FEATURE_GROUPS)] for i in range(len(values))]
    return pd.DataFrame(
        {
            "feature": [f"original_{group}_Feature{chr(65 + i)}" for i, group in enumerate(groups)],
            "feature_group": groups,
            "cohens_d": values,
            "n_worst": 20,
            "n_best": 19,
            "note": [None if np.isfinite(value) else "the feature does not vary within the groups" for value in values],
        }
    )


def bars(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def words(figure: Figure) -> str:
    return " | ".join(text.get_text() for text in figure.texts)


def test_bars_are_the_effects_in_order_from_the_top_in_the_colour_of_their_class() -> None:
    figure = draw_effects.draw_effects(effects([2.5, -1.5, 0.5]), "subtitle")
    axes = figure.axes[0]
    assert [bar.get_width() for bar in bars(figure)] == [2.5, -1.5, 0.5]
    assert [to_hex(bar.get_facecolor()) for bar in bars(figure)] == [
        FEATURE_GROUP_COLOURS[group].lower() for group in ("shape", "firstorder", "glcm")
    ]
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "Shape · Feature a",
        "First order · Feature b",
        "GLCM · Feature c",
    ]
    assert [text.get_text() for text in axes.texts] == ["+2.50", "−1.50", "+0.50"]


def test_only_the_twenty_largest_are_drawn() -> None:
    figure = draw_effects.draw_effects(effects([3 - i / 10 for i in range(25)]), "subtitle")
    assert [bar.get_width() for bar in bars(figure)] == [3 - i / 10 for i in range(20)]


def test_the_legend_names_each_class_that_is_drawn_once() -> None:
    figure = draw_effects.draw_effects(effects([3 - i / 10 for i in range(20)]), "subtitle")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(FEATURE_GROUP_NAMES.values())
    assert len(draw_effects.draw_effects(effects([1.0]), "").legends[0].get_texts()) == 1


@pytest.mark.parametrize("values", [[1.0, 0.5], [-1.0, -0.5], [1.0, -1.0], [0.0, 0.0]])
def test_no_bar_or_number_leaves_the_axes(values: list[float]) -> None:
    figure = draw_effects.draw_effects(effects(values), "subtitle")
    figure.draw_without_rendering()
    frame = figure.axes[0].get_window_extent()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1


def test_the_heading_says_what_was_compared() -> None:
    assert draw_effects.heading(effects([1.0]), "hausdorff", "WT", "flair", "truth") == (
        "20 worst and 19 best cases by WT Hausdorff distance; features of WT (truth mask) in FLAIR"
    )


def test_with_no_effect_defined_the_figure_says_so_in_words() -> None:
    figure = draw_effects.draw_effects(effects([np.nan, np.nan]), "20 worst")
    assert not figure.axes
    assert "No effect size is defined: the feature does not vary within the groups." in words(figure)
    assert "20 worst" in words(figure)


@pytest.mark.parametrize(
    ("feature", "title"),
    [
        ("original_firstorder_Mean", "First order · Mean"),
        ("original_firstorder_10Percentile", "First order · 10th percentile"),
        ("original_shape_Maximum3DDiameter", "Shape · Maximum 3D diameter"),
        ("original_shape_Maximum2DDiameterSlice", "Shape · Maximum 2D diameter slice"),
        ("original_glcm_MCC", "GLCM · Maximal correlation coefficient"),
        ("original_glcm_Imc1", "GLCM · Information measure of correlation 1"),
        ("original_glszm_SizeZoneNonUniformityNormalized", "GLSZM · Size zone non-uniformity normalized"),
    ],
)
def test_a_features_name_is_readable(feature: str, title: str) -> None:
    assert feature_title(feature) == title


def test_no_two_features_share_a_name() -> None:
    assert len({feature_title(feature) for feature in feature_names()}) == 107


def test_the_file_is_a_picture_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_table(tmp_path / "effects.csv", effects([2.5, -1.5, 0.5, np.nan]))
    said = []
    for name in ("one.png", "two.png"):
        job = SimpleNamespace(
            input=SimpleNamespace(effects=str(tmp_path / "effects.csv")),
            output=SimpleNamespace(figure=str(tmp_path / name)),
            params=SimpleNamespace(rank_by="hausdorff", region="WT", image="flair", mask="truth"),
        )
        said.append(draw_effects.main(job, Console()))
    assert said == ["3 effect sizes drawn"] * 2
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width == 1080
        assert not picture.info.get("Software")
