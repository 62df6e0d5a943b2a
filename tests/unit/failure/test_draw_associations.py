"""The chart shows the table's strongest features, one a cluster, with intervals, and what random rankings reach."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import draw_associations
from glioflow.console import Console
from glioflow.failure.associations import COLUMNS
from glioflow.failure.radiomics_parameters import default_parameters, feature_names
from glioflow.files import write_table
from glioflow.report.plotting import feature_title, meaning_colours

GROUPS = ("size", "level", "homogeneity", "extent")


def associations(rho: list[float], **columns: Any) -> pd.DataFrame:
    """Return a table with a feature for each rho, every one a cluster of its own, of four meaning groups in turn."""
    n = len(rho)
    table = {
        "image": "flair",
        "region": "WT",
        "feature": [f"original_glcm_Feature{chr(65 + i)}" for i in range(n)],
        "meaning_group": [GROUPS[i % 4] for i in range(n)],
        "cluster": range(n),
        "representative": True,
        "n": 30,
        "spearman_rho": rho,
        "rho_ci_low": np.array(rho) - 0.2,
        "rho_ci_high": np.array(rho) + 0.2,
        "q": 0.5,
        "cohens_d": 2 * np.array(rho),
        "d_ci_low": 2 * np.array(rho) - 1,
        "d_ci_high": 2 * np.array(rho) + 1,
        "n_worst": 5,
        "n_best": 4,
        "d_null_95": 2.5,
    }
    return pd.DataFrame({**table, **columns}).reindex(columns=list(COLUMNS))


def dots(figure: Figure, panel: int) -> list[tuple[float, str, bool]]:
    """Return value, colour of the edge, and whether it is filled, of each dot of a panel, from the top."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() == "o"]
    return [(float(x.get_xdata()[0]), to_hex(x.get_markeredgecolor()), x.get_markerfacecolor() != "white") for x in lines]


def intervals(figure: Figure, panel: int) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[panel].lines if line.get_marker() == "None" and len(set(line.get_ydata())) == 1]
    return [tuple(map(float, line.get_xdata())) for line in lines]  # type: ignore[misc]


def bands(figure: Figure) -> list[tuple[float, float]]:
    found = [patch for patch in figure.axes[-1].patches if isinstance(patch, Rectangle)]
    return [(band.get_x(), band.get_x() + band.get_width()) for band in found]


def labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_each_row_has_its_correlation_and_its_effect_with_their_intervals() -> None:
    figure = draw_associations.draw_associations(associations([0.7, -0.5]), "")
    assert [value for value, *_ in dots(figure, 0)] == [0.7, -0.5]
    assert [value for value, *_ in dots(figure, 1)] == [1.4, -1.0]
    assert intervals(figure, 0) == [pytest.approx((0.5, 0.9)), pytest.approx((-0.7, -0.3))]
    assert intervals(figure, 1) == [pytest.approx((0.4, 2.4)), pytest.approx((-2.0, 0.0))]
    assert figure.axes[0].yaxis_inverted()


def test_rows_have_the_colour_of_what_they_tell_and_findings_are_filled() -> None:
    figure = draw_associations.draw_associations(associations([0.7, -0.5, 0.4], q=[0.01, 0.05, 0.2]), "")
    for panel in (0, 1):
        assert [colour for _, colour, _ in dots(figure, panel)] == [meaning_colours()[name].lower() for name in GROUPS[:3]]
        assert [filled for *_, filled in dots(figure, panel)] == [True, False, False]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Size", "First-order level", "Texture homogeneity", "what random rankings reach"]


def test_the_band_is_what_random_rankings_reach() -> None:
    assert bands(draw_associations.draw_associations(associations([0.7]), "")) == [(-2.5, 2.5)]
    assert bands(draw_associations.draw_associations(associations([0.7], d_null_95=np.nan), "")) == []
    (band,) = bands(draw_associations.draw_associations(associations([0.7], d_null_95=np.inf), ""))
    assert band == pytest.approx((-2.1, 2.1))  # all of the axis


def test_one_feature_a_cluster_is_drawn_and_says_how_many_more_tell_the_same() -> None:
    table = associations([0.7, 0.6, 0.5], cluster=[1, 1, 2], representative=[False, True, True])
    figure = draw_associations.draw_associations(table, "")
    assert labels(figure) == ["GLCM · Feature b (+1)", "GLCM · Feature c"]


def test_the_strongest_twenty_are_drawn_whatever_their_sign() -> None:
    figure = draw_associations.draw_associations(associations([(-1) ** i * (0.05 + 0.03 * i) for i in range(25)]), "")
    sizes = [abs(value) for value, *_ in dots(figure, 0)]
    assert len(sizes) == 20
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(0.77)


def test_several_images_are_told_apart() -> None:
    figure = draw_associations.draw_associations(associations([0.7, 0.6], image=["flair", "t1ce"]), "")
    assert labels(figure) == ["FLAIR WT · GLCM · Feature a", "T1ce WT · GLCM · Feature b"]


def test_an_unstable_feature_says_so() -> None:
    figure = draw_associations.draw_associations(associations([0.7, 0.6]).assign(unstable=[False, True]), "")
    assert labels(figure) == ["GLCM · Feature a", "GLCM · Feature b, unstable"]


def test_of_the_extremes_alone_only_the_effects_are_drawn() -> None:
    nothing = {"rho_ci_low": np.nan, "rho_ci_high": np.nan, "q": np.nan, "d_null_95": np.nan, "cohens_d": [1.0, -3.0]}
    figure = draw_associations.draw_associations(associations([np.nan, np.nan], **nothing), "")
    assert len(figure.axes) == 1
    assert [value for value, *_ in dots(figure, 0)] == [-3.0, 1.0]
    assert "random" not in "".join(text.get_text() for text in figure.legends[0].get_texts())


def test_an_infinite_effect_is_an_arrow_at_the_edge() -> None:
    figure = draw_associations.draw_associations(associations([0.7, -0.6], cohens_d=[np.inf, -np.inf]), "")
    arrows = {line.get_marker(): float(line.get_xdata()[0]) for line in figure.axes[1].lines if line.get_marker() in "<>"}
    low, high = figure.axes[1].get_xlim()
    assert low < arrows["<"] < 0.9 * low
    assert 0.9 * high < arrows[">"] < high
    assert dots(figure, 1) == []


def test_the_heading_says_what_was_analysed() -> None:
    assert draw_associations.heading(associations([0.7]), "hausdorff", "WT", "truth") == (
        "30 patients by WT Hausdorff distance; features of WT in FLAIR (truth mask)"
    )


def test_with_nothing_to_draw_the_figure_says_why_in_words() -> None:
    nothing = {"cohens_d": np.nan, "note": "the feature is the same in every patient", "representative": False}
    figure = draw_associations.draw_associations(associations([np.nan, np.nan], **nothing), "30 patients")
    assert not figure.axes
    words = " | ".join(text.get_text() for text in figure.texts)
    assert "Nothing can be drawn: the feature is the same in every patient." in words
    assert "30 patients" in words


@pytest.mark.parametrize(
    ("feature", "title"),
    [
        ("original_firstorder_Mean", "First order · Mean"),
        ("original_firstorder_10Percentile", "First order · 10th percentile"),
        ("original_shape_Maximum3DDiameter", "Shape · Maximum 3D diameter"),
        ("original_shape_Maximum2DDiameterSlice", "Shape · Maximum 2D diameter slice"),
        ("original_glcm_MCC", "GLCM · Maximal correlation coefficient"),
        ("original_glcm_Imc1", "GLCM · Information measure of correlation 1"),
        ("log-sigma-2-5-mm-3D_glcm_Idm", "GLCM · Inverse difference moment (LoG 2.5 mm)"),
        ("diagnostics_Mask-original_VolumeNum", "Mask · Number of components"),
        ("wavelet-LLH_glcm_Idm", "GLCM · Inverse difference moment (wavelet LLH)"),
        ("original_glszm_SizeZoneNonUniformityNormalized", "GLSZM · Size zone non-uniformity normalized"),
    ],
)
def test_a_features_name_is_readable(feature: str, title: str) -> None:
    assert feature_title(feature) == title


FILTERED = {"imageType": {"LoG": {"sigma": [2.0, 2.5]}, "Wavelet": {}}, "featureClass": {"glcm": []}}


@pytest.mark.parametrize("parameters", [default_parameters(), FILTERED])
def test_no_two_features_share_a_name(parameters: dict[str, Any]) -> None:
    names = feature_names(parameters)
    assert len({feature_title(feature) for feature in names}) == len(names)


def test_the_file_is_a_picture_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_table(tmp_path / "associations.csv", associations([0.7, -0.5, 0.3]))
    said = []
    for name in ("one.png", "two.png"):
        job = SimpleNamespace(
            input=SimpleNamespace(associations=str(tmp_path / "associations.csv")),
            output=SimpleNamespace(figure=str(tmp_path / name)),
            params=SimpleNamespace(rank_by="hausdorff", region="WT", mask="truth"),
        )
        said.append(draw_associations.main(job, Console()))
    assert said == ["3 features drawn"] * 2
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width == 1080
        assert not picture.info.get("Software")
