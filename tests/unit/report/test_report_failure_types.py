"""The report says what is wrong in the worst cases and what keeps each region from a Dice of 1, as the tables have it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_write_report import Workspace

from classify_failures import confusion_table
from glioflow.failure.failure_types import COLUMNS, KINDS
from glioflow.report.failure_types import (
    KIND_COLOURS,
    KIND_NAMES,
    MANY_OF_KIND,
    ONE_OF_KIND,
    applicable,
    confusion_cells,
    draw_confusion,
    draw_failure_types,
    kinds_table,
    present,
    ranked,
    region_sentences,
    worst_sentence,
    worst_table,
)
from glioflow.report.source import Pair

PAIR = Pair("net", "cv", "demo", True)


def row(case_id: str, region: str = "WT", dice: float = 0.9, **more: object) -> dict[str, Any]:
    """Return a row of failure_types.csv: all that is missing from a Dice of 1 is a boundary, unless ``more`` says otherwise."""
    cells: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {
        f"{part}_{kind}": 0.0 for part in ("n", "ml", "gain", "share") for kind in KINDS
    }
    cells |= {"case_id": case_id, "patient_id": case_id, "label": region, "dice": dice, "dominant": "boundary_in"}
    cells |= {"share_boundary_in": 1 - dice, "n_boundary_in": 100, "ml_boundary_in": 0.1, "gain_boundary_in": 1 - dice}
    cells |= {
        "farthest_kind": "false_lesion",
        "farthest_ml": 0.008,
        "farthest_mm": 80.0,
        "missed_lesions": 0,
        "false_lesions": 7,
    }
    return {**cells, **more}


def empty_row(case_id: str, region: str = "WT") -> dict[str, Any]:
    gone = {"dominant": np.nan, "share_boundary_in": 0.0, "n_boundary_in": 0, "farthest_kind": np.nan, "farthest_mm": np.nan}
    return row(case_id, region, np.nan, **gone, note="absent in truth and prediction")


def worst(*rows: dict[str, Any], values: list[float]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(value=values, rank=range(1, len(rows) + 1))


NONE = worst(values=[]).reindex(columns=[*COLUMNS, "value", "rank"])


def test_one_island_that_sets_each_distance_is_named_with_its_size_and_how_far_it_is():
    rows = worst(
        row("a", dice=0.95, farthest_mm=107.97), row("b", dice=0.88, farthest_ml=0.001, farthest_mm=81.2), values=[107.97, 81.2]
    )
    assert worst_sentence(rows, NONE, "hausdorff", "WT") == (
        "In each of the 2 worst cases, the Hausdorff distance of WT is set by one false island of at most 0.008 ml, "
        "81–108 mm from the truth; their Dice is 0.880–0.950."
    )
    assert worst_sentence(rows[:1], NONE, "hausdorff", "WT") == (
        "In the worst case, the Hausdorff distance of WT is set by one false island of 0.008 ml, 108 mm from the truth; "
        "its Dice is 0.950."
    )


def test_what_sets_the_distance_of_the_best_cases_too_is_said_not_to_tell_them_apart():
    rows = worst(row("a"), values=[80])
    best = worst(
        row("b", farthest_mm=33.2), row("c", farthest_mm=57.4), row("d", farthest_kind="over"), values=[33.2, 57.4, 80]
    )
    assert worst_sentence(rows, best, "hausdorff", "WT").endswith(
        "its Dice is 0.900. In 2 of the 3 best cases it is set by one of this kind as well, 33–57 mm away."
    )
    assert "best" not in worst_sentence(rows, best, "hd95_mm", "WT")
    assert "best" not in worst_sentence(rows, best[2:], "hausdorff", "WT")


def test_an_error_that_is_not_as_far_as_the_distance_is_not_said_to_set_it():
    rows = worst(row("a", farthest_mm=80), row("b", farthest_mm=20), row("c", farthest_mm=79), values=[80, 60, 82])
    assert worst_sentence(rows, NONE, "hausdorff", "WT").startswith(
        "In 2 of the 3 worst cases, the Hausdorff distance of WT is set by"
    )
    nearer = worst(row("a", farthest_mm=20), values=[60])
    assert (
        worst_sentence(nearer, NONE, "hausdorff", "WT")
        == "In none of the worst cases is the Hausdorff distance of WT that of the farthest wrong voxel."
    )


def test_the_most_frequent_kind_is_named():
    kinds = ["missed_lesion", "false_lesion", "missed_lesion"]
    rows = worst(*(row(str(at), farthest_kind=kind) for at, kind in enumerate(kinds)), values=[80, 80, 80])
    said = worst_sentence(rows, NONE, "hausdorff", "ET")
    assert said.startswith("In 2 of the 3 worst cases, the Hausdorff distance of ET is set by one missed lesion of at most")
    assert "80 mm from the prediction" in said


def test_of_another_distance_the_farthest_error_is_named_and_not_said_to_set_it():
    said = worst_sentence(worst(row("a"), row("b"), values=[9, 8]), NONE, "hd95_mm", "WT")
    assert said.startswith(
        "In each of the 2 worst cases, the farthest error of WT is one false island of at most 0.008 ml, 80 mm"
    )
    assert " set " not in said


def test_of_an_overlap_the_kind_with_the_largest_share_is_named():
    said = worst_sentence(worst(row("a", dice=0.6), row("b", dice=0.7), values=[0.6, 0.7]), NONE, "dice", "WT")
    assert said == (
        "In each of the 2 worst cases, boundaries too far in cost most of the Dice of WT (0.300–0.400); "
        "their Dice is 0.600–0.700."
    )


def test_a_worst_case_whose_mask_is_empty_is_told_as_such():
    gone = {"farthest_kind": np.nan, "farthest_mm": np.nan, "flag": "nothing_found"}
    rows = worst(row("a", dice=0.0, **gone), row("b"), values=[374, 80])
    assert worst_sentence(rows, NONE, "hausdorff", "WT") == (
        "In 1 of the 2 worst cases, the Hausdorff distance of WT is set by one false island of 0.008 ml, 80 mm from the truth; "
        "its Dice is 0.900. In 1 of the 2 worst cases, one of the masks has nothing of WT."
    )
    assert worst_sentence(rows[:1], NONE, "hausdorff", "WT") == "In the worst case, one of the masks has nothing of WT."


def test_each_region_says_what_its_dice_lacks_and_where_nothing_was_found_or_there():
    mixed = {"share_boundary_in": 0.05, "share_false_lesion": 0.15, "dominant": "false_lesion"}
    rows = [row("a", dice=0.9), row("b", dice=0.8, **mixed), row("c", dice=0.9)]
    rows += [
        row("a", "ET", 0.0, flag="nothing_found", share_boundary_in=0.0, share_missed_lesion=1.0, dominant="missed_lesion")
    ]
    rows += [row("b", "ET", 0.0, flag="nothing_there", share_boundary_in=0.0, share_false_lesion=1.0, dominant="false_lesion")]
    rows += [empty_row("c", "ET")]
    assert region_sentences(pd.DataFrame(rows)) == [
        "WT: the Dice falls short of 1 by 0.133, the mean of 3 cases: 0.083 by boundaries too far in and 0.050 by false "
        "islands. Boundaries too far in cost most in 2 of them.",
        "ET: the Dice falls short of 1 by 1.000, the mean of 2 cases: 0.500 by missed lesions and 0.500 by false islands. "
        "Missed lesions cost most in 1 of them. Nothing of it was found in 1 case and some was found where there is none in "
        "1 case.",
    ]


def test_a_region_without_errors_says_so():
    right = row("a", dice=1.0, dominant=np.nan, farthest_kind=np.nan, n_boundary_in=0)
    assert region_sentences(pd.DataFrame([right])) == ["WT: no error (1 case)."]
    assert region_sentences(pd.DataFrame([empty_row("a")])) == []


def test_regions_that_cannot_be_shown_and_cases_without_the_region_count_nowhere():
    unseen = {"case_id": "a", "label": "ET", "note": "not applicable: the model predicts WT only"}
    types = pd.DataFrame([row("a"), unseen, empty_row("b")])
    assert list(applicable(types)["label"]) == ["WT", "WT"]
    missing = empty_row("c") | {"note": "prediction missing: counted as empty; absent in truth and prediction"}
    assert list(present(pd.DataFrame([row("a"), empty_row("b"), missing]))["case_id"]) == ["a"]


def test_the_worst_cases_are_listed_in_their_order_with_their_farthest_error():
    types = pd.DataFrame([row("b", dice=0.95), row("a", farthest_mm=108.0), row("a", "ET"), row("c")])
    extremes = pd.DataFrame(
        {"group": ["worst", "worst", "best"], "rank": [1, 2, 1], "case_id": ["a", "b", "c"], "value": [108.0, 81, 3]}
    )
    found = worst_table(ranked(types, extremes, "WT"), PAIR, "hausdorff", "WT")
    texts = [[cell.text for cell in cells] for cells in found.rows]
    assert texts[0] == ["1", "a", "108.00", "0.900", "boundary too far in", "0.100", "false island", "0.008", "108.0", "7", "0"]
    assert texts[1][:2] == ["2", "b"]
    assert len(found.columns) == len(texts[0])
    by_dice = worst_table(ranked(types, extremes, "WT"), PAIR, "dice", "WT")
    assert list(by_dice.columns).count("Dice") == 1
    assert len(by_dice.columns) == len(by_dice.rows[0])
    nothing = {"dominant": np.nan, "farthest_kind": np.nan, "farthest_mm": np.nan, "farthest_ml": np.nan}
    blank = worst_table(worst(row("a", **nothing), values=[80]), PAIR, "hausdorff", "WT")
    assert [cell.text for cell in blank.rows[0]][4:9] == ["–"] * 5


def test_the_kinds_of_a_region_are_those_that_occur_in_it():
    types = pd.DataFrame([row("a"), row("b", dice=0.8), empty_row("c"), row("a", "ET", n_over=3, ml_over=0.003)])
    rows = [[cell.text for cell in cells] for cells in kinds_table(types, PAIR).rows]
    assert rows == [
        ["WT", "boundary too far in", "2", "2", "0.1500", "0.1500", "0.20"],
        ["ET", "boundary too far in", "1", "1", "0.1000", "0.1000", "0.10"],
        ["ET", "oversegmented", "1", "0", "0.0000", "0.0000", "0.00"],
    ]


def test_the_confusion_tells_ml_and_share_and_of_the_background_ml_alone():
    pairs = [
        ("background", "background", 900.0, 0.99),
        ("background", "ET", 1.25, 0.01),
        ("ET", "background", 2.5, 0.25),
        ("ET", "ET", 7.5, 0.75),
    ]
    found = confusion_cells(pd.DataFrame(pairs, columns=["true_label", "predicted_label", "ml", "share"]), PAIR)
    assert found.columns == ["True label", "predicted background", "predicted ET"]
    rows = [[cell.text for cell in cells] for cells in found.rows]
    assert rows == [["background", "–", "1.25"], ["ET", "2.50 (25.0 %)", "7.50 (75.0 %)"]]


def test_the_bars_are_as_long_as_what_is_missing_from_a_dice_of_one():
    mixed = {"share_boundary_in": 0.05, "share_false_lesion": 0.25}
    types = pd.DataFrame([row("a", dice=0.9), row("b", dice=0.7, **mixed), empty_row("c"), row("a", "ET", 0.6)])
    axes = draw_failure_types(types, {"worst": ["b"], "best": ["a"]}).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["WT, all (n = 2)", "WT, worst (n = 1)", "WT, best (n = 1)", "ET, all (n = 1)", "ET, best (n = 1)"]
    widths = np.array([[bar.get_width() for bar in kind] for kind in axes.containers])
    assert widths.shape == (8, 5)
    assert widths.sum(axis=0) == pytest.approx([0.2, 0.3, 0.1, 0.4, 0.4])
    assert widths[KINDS.index("false_lesion")] == pytest.approx([0.125, 0.25, 0, 0, 0])


def test_worst_cases_that_are_right_have_no_wrong_voxel():
    right = row("a", dice=1.0, dominant=np.nan, farthest_kind=np.nan, farthest_mm=np.nan)
    for metric, value in [("hausdorff", 0.0), ("dice", 1.0)]:
        assert worst_sentence(worst(right, values=[value]), NONE, metric, "WT") == "The worst cases have no wrong voxel of WT."


def test_labels_that_cannot_be_told_apart_are_said_to_stand_for_their_region(tmp_path):
    def whole_only(table: pd.DataFrame) -> pd.DataFrame:
        """Return the table of a model that predicts WT: other regions have the reason alone."""
        ids = {"case_id", "patient_id", "label", "tta", "note"}
        whole = table["label"] == "WT"
        emptied = {name: table[name].where(whole) for name in table.columns if name not in ids}
        return table.assign(**emptied, note=table["note"].where(whole, "not applicable: the model predicts WT only"))

    workspace = Workspace(tmp_path / "results")
    workspace.edit(whole_only, "scores", "net", "cv.csv")
    workspace.edit(whole_only, "failure", "net", "cv", "failure_types.csv")
    page = workspace.page()
    assert "Not all labels can be told apart (the model predicts WT only): a predicted label stands for" in page.text
    assert {cells[0] for cells in page.table("Kinds of errors of net · cv")[1:]} == {"WT"}


def test_the_page_shows_what_is_wrong_in_words_a_picture_and_tables(tmp_path):
    workspace = Workspace(tmp_path / "results")
    page = workspace.page()
    sentence = "In each of the 3 worst cases, the Hausdorff distance of WT is set by one false island of at most 0.008 ml,"
    assert page.text.count(sentence) == 2, "in the summary, and with the failures"
    found = page.table("What is wrong in WT of the worst cases of net · cv")
    assert [cells[1] for cells in found[1:]] == workspace.ranked()[:3]
    assert {cells[6] for cells in found[1:]} == {"false island"}
    assert {cells[0] for cells in page.table("Kinds of errors of net · cv")[1:]} >= {"WT", "TC", "ET"}
    assert page.table("Confusion of labels over all voxels of net · cv")[4][1:] == [
        "0.00 (0.0 %)",
        "0.00 (0.0 %)",
        "2.50 (20.0 %)",
        "10.00 (80.0 %)",
    ]
    assert any(
        alt.startswith("Stacked bars of the mean shares of the kinds of errors of net") for alt in page.attributes("alt")
    )
    cited = page.text.split("Please cite")[1]
    assert "Bolya et al. 2020" in cited and "Hoiem et al. 2012" in cited
    assert "as in TIDE (Bolya et al. 2020" in page.text


def test_every_kind_has_its_words_and_a_colour_of_its_own():
    for words in (KIND_NAMES, MANY_OF_KIND, ONE_OF_KIND, KIND_COLOURS):
        assert tuple(words) == KINDS
    assert len(set(KIND_COLOURS.values())) == len(KINDS)


def test_the_error_matrix_has_the_share_of_every_true_label_and_no_row_of_the_background() -> None:
    ml = np.diag([900.0, 20, 30, 10, 0])
    ml[3, 2] = 2.5  # a fifth of the true ET is called ED
    (axes,) = draw_confusion(confusion_table(ml)).axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    true = [label.get_text() for label in axes.get_yticklabels()]
    texts = np.array([text.get_text() for text in axes.texts]).reshape(len(true), len(names))
    assert names[0] == "background" and true == names[1:]
    assert texts[true.index("ET"), names.index("ED")] == "20.0 %"
    assert texts[true.index("ET"), names.index("ET")] == "80.0 %"
    assert texts[true.index("ED"), names.index("ED")] == "100.0 %"
