"""The same masks under every convention: who is worst depends on it, and the tables tell how far."""

import hashlib
import math
from collections.abc import Callable, Sequence
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import compare_conventions
from compare_conventions import RANK_COLUMNS, compare_ranks, rank_table
from glioflow.console import Console, UserError
from glioflow.evaluation.conventions import Convention, Headline, conventions
from glioflow.evaluation.metrics import NOT_APPLICABLE
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.labels import ED
from glioflow.imaging.volumes import Volume, write_volume

EDGE = 12
DIAGONAL = math.hypot(EDGE, EDGE, EDGE)
# In the order of the tables: the default first.
COMPARED = ("glioflow", "brats2023_gli", "nnunet", "open_brats2020", "surface_distance")


KNOWN = conventions()


def some(*names: str) -> list[Convention]:
    return [KNOWN[name] for name in names]


def convention(name: str, **changes: Any) -> Convention:
    return KNOWN["glioflow"].model_copy(update={"name": name, **changes})


# One convention ranks by the largest distance, another by the 95th percentile, a third by no distance at all.
FAR = convention("far")
NEAR = convention("near", headline=Headline(overlap="dice", distance="hd95_mm"))
BARE = convention("bare", headline=Headline(overlap="dice", distance=None))


def scored(name: str, **values: Sequence[float | None]) -> pd.DataFrame:
    """Return the rows of cases a, b, c… under a convention, each with the values given and a Dice of 0.5."""
    (length,) = {len(column) for column in values.values()}
    cases = [chr(97 + index) for index in range(length)]
    first = {
        "case_id": cases,
        "label": "WT",
        "convention": name,
        "tta": None,
        "note": None,
        "dice": 0.5,
        "hausdorff": nan,
        "hd95_mm": nan,
    }
    return pd.DataFrame({**first, **{column: np.array(value, float) for column, value in values.items()}})


def compared(*tables: pd.DataFrame, study: str = "far", extremes: int = 20) -> pd.DataFrame:
    """Return the table of ranks, a row per convention and kind."""
    known = {each.name: each for each in (FAR, NEAR, BARE)}
    table = rank_table(pd.concat(tables, ignore_index=True), known)
    return compare_ranks(table, known, study, extremes).set_index(["convention", "kind"])


# Largest distances 9, 5, 3 make a the worst. Their 95th percentiles 1, 5, 3 make it the best: of three pairs of cases only b
# and c keep their order, so tau is (1 - 2) / 3.
TURNED = (scored("far", hausdorff=[9, 5, 3]), scored("near", hd95_mm=[1, 5, 3]))


def test_the_order_of_three_cases_turns_between_two_conventions() -> None:
    ranks = compared(*TURNED)
    row = ranks.loc["near", "distance"]
    assert row["tau_b"] == pytest.approx(-1 / 3)
    assert (row["n_both"], row["worst"], row["shared"]) == (3, 1, 0)
    assert (row["entering"], row["leaving"], row["leaving_unranked"]) == ("b", "a", "")
    assert (row["metric"], row["study_metric"], row["study_convention"], row["unit"]) == ("hd95_mm", "hausdorff", "far", "mm")
    assert row["mean"] == 3
    assert list(ranks.reset_index()["kind"]) == ["overlap", "overlap", "distance", "distance"]


def test_every_row_has_its_ranks() -> None:
    known = {each.name: each for each in (FAR, NEAR)}
    table = rank_table(pd.concat(TURNED, ignore_index=True), known)
    assert table["rank_distance"].tolist() == [1, 2, 3, 3, 1, 2]
    assert table["rank_overlap"].tolist() == [1, 2, 3] * 2  # of one Dice: by case id


def test_the_studys_convention_agrees_with_itself() -> None:
    row = compared(*TURNED).loc["far", "distance"]
    assert (row["tau_b"], row["shared"], row["entering"], row["leaving"]) == (1, 1, "", "")


def test_a_low_overlap_is_worst() -> None:
    row = compared(scored("far", dice=[0.9, 0.1, 0.5]), scored("near", dice=[0.2, 0.1, 0.5])).loc["near", "overlap"]
    assert (row["shared"], row["leaving"]) == (1, "")  # b is the worst of both
    assert row["tau_b"] == pytest.approx(1 / 3)  # b < c in both, b < a in both, a and c have changed places: (2 - 1) / 3
    assert pd.isna(row["unit"])


def test_a_convention_ranks_by_its_own_headline() -> None:
    by_iou = convention("by_iou", headline=Headline(overlap="iou"))
    table = rank_table(scored("by_iou", dice=[0.1, 0.9], iou=[0.9, 0.1]), {"by_iou": by_iou})
    assert table["rank_overlap"].tolist() == [2, 1]
    assert table["rank_distance"].isna().all()
    assert compare_ranks(table, {"by_iou": by_iou}, "by_iou", 1)["metric"].tolist() == ["iou"]


def test_ties_are_ordered_by_dice_then_by_case_id() -> None:
    table = rank_table(scored("far", hausdorff=[5, 5, 5, 9], dice=[0.8, 0.7, 0.8, 0.9]), {"far": FAR})
    assert dict(zip(table["case_id"], table["rank_distance"], strict=True)) == {"d": 1, "b": 2, "a": 3, "c": 4}


def test_an_undefined_value_is_counted_and_not_ranked() -> None:
    # a is the worst of the study. Without a value it leaves the worst, but not because it were better.
    ranks = compared(scored("far", hausdorff=[9, 5, 3, 2, 1]), scored("near", hd95_mm=[None, 5, 3, 2, 1]))
    row = ranks.loc["near", "distance"]
    assert (row["n"], row["undefined"], row["n_both"], row["worst"]) == (4, 1, 4, 2)
    assert (row["tau_b"], row["shared"]) == (1, 1)
    assert (row["entering"], row["leaving"], row["leaving_unranked"]) == ("c", "a", "a")
    assert row["mean"] == pytest.approx(11 / 4)


def test_an_infinite_distance_is_worst_and_counted() -> None:
    ranks = compared(scored("far", hausdorff=[9, 5, 3]), scored("near", hd95_mm=[9, 5, inf]))
    row = ranks.loc["near", "distance"]
    assert (row["n"], row["undefined"], row["infinite"], row["mean"]) == (3, 0, 1, inf)
    assert (row["entering"], row["leaving"]) == ("c", "a")


@pytest.mark.parametrize(("extremes", "worst"), [(1, 1), (2, 2), (20, 2)])
def test_no_case_can_be_among_the_worst_and_the_best(extremes: int, worst: int) -> None:
    ranks = compared(scored("far", hausdorff=[9, 5, 3, 2, 1]), scored("near", hd95_mm=[9, 5, 3, 2, 1]), extremes=extremes)
    assert ranks.loc["near", "distance"]["worst"] == worst


@pytest.mark.parametrize(
    ("far", "near", "note"),
    [
        ([9], [9], "fewer than two cases have a value in both"),
        ([9, None], [None, 9], "fewer than two cases have a value in both"),
        ([9, 5], [3, 3], "all cases have one value in one of the two"),
    ],
)
def test_what_cannot_be_compared_says_why(far: list[float], near: list[float], note: str) -> None:
    row = compared(scored("far", hausdorff=far), scored("near", hd95_mm=near)).loc["near", "distance"]
    assert math.isnan(row["tau_b"])
    assert row["note"] == note


def test_a_convention_without_a_distance_is_compared_by_overlap_alone() -> None:
    tables = scored("far", hausdorff=[9, 5]), scored("bare", hausdorff=[9, 5])
    assert ("bare", "distance") not in compared(*tables).index
    row = compared(*tables, study="bare").loc["far", "distance"]
    assert row["note"] == "the study's convention ranks by nothing of this kind"
    assert row["n"] == 2 and math.isnan(row["tau_b"]) and pd.isna(row["worst"])


def test_only_the_prediction_with_augmentation_is_ranked() -> None:
    both = [
        pd.concat([scored(name, **{metric: [1, 2, 3]}).assign(tta=False), scored(name, **{metric: [9, 5, 3]}).assign(tta=True)])
        for name, metric in (("far", "hausdorff"), ("near", "hd95_mm"))
    ]
    table = rank_table(pd.concat(both, ignore_index=True), {"far": FAR, "near": NEAR})
    assert table["rank_distance"].isna().tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3
    row = compared(*both).loc["near", "distance"]
    assert (row["n"], row["mean"]) == (3, pytest.approx(17 / 3))


def test_a_region_that_the_model_cannot_show_says_so() -> None:
    unseen = [
        scored(name, hausdorff=[nan, nan], dice=[nan, nan]).assign(note=f"{NOT_APPLICABLE}: why") for name in ("far", "near")
    ]
    row = compared(*unseen).loc["near", "overlap"]
    assert (row["n"], row["note"]) == (0, f"{NOT_APPLICABLE}: why")


class Set:
    """A set of predictions in a folder, and the job that scores it under every convention."""

    def __init__(self, folder: Path, put_conventions: Callable[..., None]) -> None:
        self.folder = folder
        self.put_conventions = put_conventions
        self.truths: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []

    def add(self, case_id: str, truth: NDArray[np.uint8], prediction: NDArray[np.uint8], **more: object) -> None:
        paths = [self.folder / f"{case_id}_{name}.nii.gz" for name in ("truth", "prediction")]
        for path, labels in zip(paths, (truth, prediction), strict=True):
            write_volume(path, Volume(labels, np.eye(4)))
        patient = {"case_id": case_id, "patient_id": f"patient {case_id}"}
        digest = hashlib.sha256(truth.tobytes()).hexdigest()
        self.truths.append({**patient, "label": str(paths[0]), "label_sha256": digest, "spacing_mm": "1x1x1"})
        told = {"fold": None, "prediction": str(paths[1]), "sha256": sha256_file(paths[1])}
        self.predictions.append({**patient, **told, **more})

    def run(
        self, threads: int = 1, compared: Sequence[Convention] = (), **params: Any
    ) -> tuple[str, pd.DataFrame, pd.DataFrame]:
        tables = {name: str(self.folder / f"{name}.csv") for name in ("manifest", "predictions", "conventions", "ranks")}
        write_table(tables["manifest"], pd.DataFrame(self.truths))
        write_table(tables["predictions"], pd.DataFrame(self.predictions))
        settings = {
            "regions": ["WT"],
            "trained_regions": None,
            "truth_regions": None,
            "convention": "glioflow",
            "extremes": 20,
            "cache": str(self.folder / "cache.jsonl"),
        }
        self.put_conventions(*(compared or some(*COMPARED)))
        for name in ("conventions", "ranks"):
            Path(tables[name]).unlink(missing_ok=True)
        job = SimpleNamespace(
            input=SimpleNamespace(**tables),
            output=SimpleNamespace(**tables),
            params=SimpleNamespace(**{**settings, **params}),
            threads=threads,
        )
        said = compare_conventions.main(job, Console(self.folder / "log.txt", "compare_conventions"))
        return said, read_table(tables["conventions"]), read_table(tables["ranks"])

    def error(self) -> list[str]:
        with pytest.raises(UserError) as caught:
            self.run()
        assert not (self.folder / "conventions.csv").exists()
        assert not (self.folder / "ranks.csv").exists()
        return str(caught.value).split("\n")


def cube(start: int, edge: int = 4) -> NDArray[np.uint8]:
    """Return a map with a cube whose first corner is at ``start`` on each axis; none with an edge of 0."""
    labels = np.zeros((EDGE, EDGE, EDGE), np.uint8)
    labels[(slice(start, start + edge),) * 3] = ED
    return labels


@pytest.fixture
def cases(tmp_path: Path, put_conventions: Callable[..., None]) -> Set:
    """Four cases: one with an empty prediction, others one and two voxels off, and one that is right."""
    found = Set(tmp_path, put_conventions)
    found.add("missed", cube(2), cube(0, 0))
    found.add("near", cube(2), cube(3))
    found.add("far", cube(2), cube(4))
    found.add("right", cube(2), cube(2))
    return found


@pytest.fixture
def count_scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the cases that were really scored, as they are."""
    done: list[str] = []
    score = compare_conventions.score_conventions

    def counting(case: Any, plans: Any) -> Any:
        done.append(case.case_id)
        return score(case, plans)

    monkeypatch.setattr(compare_conventions, "score_conventions", counting)
    return done


def by_case(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["convention"] == name].set_index("case_id")


def test_an_empty_prediction_goes_from_the_worst_to_the_best_but_one(cases: Set) -> None:
    _, table, ranks = cases.run()
    ours, theirs = by_case(table, "glioflow"), by_case(table, "open_brats2020")
    assert ours["hausdorff"].to_dict() == pytest.approx(
        {"missed": DIAGONAL, "near": math.sqrt(3), "far": 2 * math.sqrt(3), "right": 0}
    )
    assert theirs["hausdorff"].to_dict() == pytest.approx({**ours["hausdorff"], "missed": 0})
    assert ours["rank_distance"].to_dict() == {"missed": 1, "far": 2, "near": 3, "right": 4}
    # No distance is 0 for the prediction that is right as well; its Dice of 1 is better than 0.
    assert theirs["rank_distance"].to_dict() == {"far": 1, "near": 2, "missed": 3, "right": 4}
    row = ranks.set_index(["convention", "kind"]).loc["open_brats2020", "distance"]
    assert (row["worst"], row["shared"], row["entering"], row["leaving"]) == (2, 1, "near", "missed")
    # Of six pairs far-near, far-right and near-right are kept, missed-far and missed-near turned, missed-right is now a tie.
    assert row["tau_b"] == pytest.approx((3 - 2) / math.sqrt(6 * 5))
    assert row["unit"] == "voxels"


def test_an_infinite_distance_is_written_as_such_and_read_again(cases: Set) -> None:
    _, table, ranks = cases.run()
    assert by_case(table, "surface_distance").loc["missed", ["hausdorff", "rank_distance"]].tolist() == [inf, 1]
    row = ranks.set_index(["convention", "kind"]).loc["surface_distance", "distance"]
    assert (row["infinite"], row["mean"]) == (1, inf)
    _, again, _ = cases.run()  # from the cache
    pd.testing.assert_frame_equal(table, again)


def test_the_table_has_a_row_per_case_and_convention_and_the_columns_of_them_all(cases: Set) -> None:
    said, table, ranks = cases.run()
    assert said == "4 cases under 5 conventions"
    assert table["case_id"].tolist() == [case for case in ("far", "missed", "near", "right") for _ in COMPARED]
    assert table["convention"].tolist() == list(COMPARED) * 4
    columns = list(table.columns)
    assert columns[:9] == ["patient_id", "label", "convention", "unit", "tta", "hausdorff", "dice", "sens", "spec"]
    assert columns[-5:] == ["lesions_found", "lesions_false", "rank_overlap", "rank_distance", "note"]
    assert len(set(columns)) == len(columns)
    assert {"masd_mm", "nsd_1mm", "volume_error_ml", "lesion_dice"} <= set(columns)
    lesions = table["lesion_dice"].notna()
    assert set(table["convention"][lesions]) == {"brats2023_gli"}
    assert by_case(table, "nnunet")["hd95_mm"].isna().all()
    assert list(ranks.columns) == list(RANK_COLUMNS)
    assert len(ranks) == 5 + 4  # nnU-Net ranks by overlap alone


def test_regions_stand_in_their_order_each_under_all_conventions(cases: Set) -> None:
    _, table, ranks = cases.run(regions=["WT", "ED"], compared=some("glioflow", "nnunet"))
    assert table["label"].tolist() == ["WT", "WT", "ED", "ED"] * 4
    assert list(dict.fromkeys(ranks["label"])) == ["WT", "ED"]
    assert table["dice"].notna().all()


def test_a_region_of_a_coarser_model_is_not_applicable_under_any_convention(cases: Set) -> None:
    _, table, ranks = cases.run(regions=["WT", "ET"], trained_regions=["WT"], compared=some("glioflow", "brats2023_gli"))
    enhancing = table[table["label"] == "ET"]
    assert enhancing["note"].tolist() == [f"{NOT_APPLICABLE}: the model predicts WT only"] * 8
    assert enhancing[["dice", "lesion_dice", "rank_overlap"]].isna().all(axis=None)
    assert set(ranks.loc[ranks["label"] == "ET", "note"]) == {f"{NOT_APPLICABLE}: the model predicts WT only"}


def test_several_processes_write_the_same_tables(cases: Set) -> None:
    _, table, ranks = cases.run(cache=str(cases.folder / "one.jsonl"))
    _, again, ranks_again = cases.run(threads=2, cache=str(cases.folder / "two.jsonl"))
    pd.testing.assert_frame_equal(table, again)
    pd.testing.assert_frame_equal(ranks, ranks_again)


def test_nothing_unchanged_is_scored_again(cases: Set, count_scored: list[str]) -> None:
    cases.run()
    assert count_scored == ["far", "missed", "near", "right"]
    said, *_ = cases.run()
    assert said == "4 cases under 5 conventions, 4 already scored"
    cases.predictions.pop(0)
    cases.truths.pop(0)
    cases.add("missed", cube(2), cube(3))
    cases.run()
    assert count_scored[4:] == ["missed"]


def test_a_conventions_parameters_count_its_words_do_not(cases: Set, count_scored: list[str]) -> None:
    (ours,) = some("glioflow")
    others = some("nnunet")
    cases.run(compared=[*others, ours])
    said_otherwise = ours.model_copy(update={"about": "Other words.", "headline": Headline(overlap="iou")})
    _, table, _ = cases.run(compared=[*others, said_otherwise])
    assert len(count_scored) == 4
    assert table["rank_distance"].isna().all()
    changed = ours.model_copy(update={"nsd_tolerances_mm": [3]})
    cases.run(compared=[*others, changed])
    assert len(count_scored) == 8


def test_predictions_with_and_without_augmentation_are_scored_and_one_is_ranked(cases: Set) -> None:
    cases.predictions = [{**row, "tta": tta} for row in cases.predictions for tta in (False, True)]
    _, table, ranks = cases.run(compared=some("glioflow", "nnunet"))
    assert len(table) == 16
    assert table.loc[table["rank_overlap"].notna(), "tta"].tolist() == [True] * 8
    assert set(ranks["n"]) == {4}


def test_all_that_cannot_be_scored_is_listed_and_the_rest_is_kept(cases: Set, count_scored: list[str]) -> None:
    cases.add("shape", cube(2), np.zeros((EDGE, EDGE, 3), np.uint8))
    cases.add("values", cube(2), cube(2) * 4)
    cases.add("no_truth", cube(2), cube(2))
    cases.truths.pop()
    (cases.folder / "near_prediction.nii.gz").write_bytes(b"not an image")
    first, *lines = cases.error()
    assert first == "these cases cannot be scored:"
    assert [line.split(":")[0].strip() for line in lines] == ["near", "no_truth", "shape", "values"]
    assert str(cases.folder / "values_prediction.nii.gz") in lines[-1]
    count_scored.clear()
    cases.error()
    assert count_scored == ["near", "shape", "values"]  # right, far and missed are in the cache
