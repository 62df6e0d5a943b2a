"""How masks are combined, what an ensemble is made of, and what is not made again."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

import ensemble_models as script
from glioflow.console import Console, UserError
from glioflow.files import sha256_file, write_json, write_table
from glioflow.imaging.volumes import Volume, read_labels, write_volume
from glioflow.models.ensembles import covers_all, merge_regions, needs_probabilities, staple, vote
from glioflow.models.predictions import COLUMNS, hash_probabilities, read_predictions

SHAPE = (4, 3, 2)
DATASET = {
    "channel_names": {"0": "flair"},
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "enhancing": [3]},
    "regions_class_order": [2, 1, 3],
    "file_ending": ".nii.gz",
}
PLANS = {"image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager", "configurations": {}}


def row(*labels: int) -> np.ndarray:
    return np.array(labels, np.uint8)[:, np.newaxis, np.newaxis]


def listed(labels: np.ndarray) -> list[int]:
    return labels.ravel().tolist()


def test_a_label_is_taken_from_the_member_and_never_overwrites_another():
    mean, member = row(0, 2, 2, 1, 3, 0), row(2, 2, 0, 2, 2, 1)
    assert listed(merge_regions(mean, {"ED": member})) == [2, 2, 0, 1, 3, 0]


def test_merging_changes_neither_input():
    mean, member = row(2, 0), row(0, 2)
    merge_regions(mean, {"ED": member})
    assert (listed(mean), listed(member)) == ([2, 0], [0, 2])


def test_the_core_of_one_member_lies_over_the_oedema_of_another():
    a, b = row(1, 3, 2, 2, 0, 0), row(2, 2, 2, 0, 2, 3)
    nothing = row(0, 0, 0, 0, 0, 0)
    assert listed(merge_regions(nothing, {"TC": a, "ED": b})) == [1, 3, 2, 0, 2, 0]
    assert listed(merge_regions(nothing, {"ED": b, "TC": a})) == [2, 2, 2, 0, 2, 0]


def test_every_label_of_a_merged_region_is_removed_before_it_is_painted():
    labels, a = row(1, 3, 2, 4, 0), row(0, 0, 0, 3, 1)
    assert listed(merge_regions(labels, {"TC": a})) == [0, 0, 2, 4, 1]


def test_the_mean_needs_probabilities_unless_the_merged_regions_hold_every_label():
    regions = ["WT", "TC", "ET"]
    assert needs_probabilities("mean", {}, regions)
    assert needs_probabilities("mean", {"ED": "b"}, regions)
    assert needs_probabilities("mean", {"TC": "a", "ED": "b"}, [*regions, "RC"])
    assert not needs_probabilities("mean", {"TC": "a", "ED": "b"}, regions)
    assert not needs_probabilities("vote", {}, regions)
    assert not needs_probabilities("staple", {"ED": "b"}, regions)
    assert covers_all({"WT": "a"}, regions)
    assert covers_all({"ED": "a"}, ["WT"])  # all that a model of WT alone writes is label 2
    assert not covers_all({"ED": "a"}, ["WT", "ET"])


def test_the_majority_wins_voxel_by_voxel():
    masks = [row(1, 0, 2, 2), row(1, 0, 3, 0), row(2, 3, 3, 0)]
    assert listed(vote(masks)) == [1, 0, 3, 0]
    assert listed(vote([row(1), row(2), row(2), row(2), row(1)])) == [2]


def test_of_equally_many_votes_the_background_loses_and_then_the_first_member_wins():
    assert listed(vote([row(0, 2, 1), row(2, 0, 3)])) == [2, 2, 1]
    assert listed(vote([row(0), row(3), row(1)])) == [3]
    assert listed(vote([row(1), row(2), row(0), row(0), row(2), row(1)])) == [1]
    assert listed(vote([row(0), row(0), row(2), row(1), row(1), row(2)])) == [2]


def test_votes_and_staple_agree_where_all_masks_do():
    mask = row(0, 1, 2, 3, 4, 0)
    for combine in (vote, staple):
        assert listed(combine([mask, mask, mask])) == listed(mask)
        assert not combine([row(0, 0), row(0, 0)]).any()


def noisy_masks(seed: int = 0) -> list[np.ndarray]:
    """Three masks of one ball in a ball: two with a few false voxels, one with many."""
    rng = np.random.default_rng(seed)
    far = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0)
    truth = np.where(far < 3, 3, np.where(far < 6, 2, 0)).astype(np.uint8)
    masks = []
    for rate in (0.02, 0.02, 0.4):
        wrong = (rng.random(truth.shape) < rate) & (far < 7)
        masks.append(np.where(wrong, rng.choice([0, 1, 2, 3], truth.shape), truth).astype(np.uint8))
    return [truth, *masks]


def test_staple_is_itks_on_the_box_of_the_labels_wherever_the_volume_ends():
    _, *masks = noisy_masks()
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(np.any(masks, axis=0)))
    images = [sitk.GetImageFromArray(mask[box]) for mask in masks]
    expected = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images, 255))
    found = staple(masks)
    decided = expected != 255
    assert decided.mean() > 0.9
    assert np.array_equal(found[box][decided], expected[decided])
    assert found.max() <= 3
    assert np.array_equal(staple([np.pad(mask, 5) for mask in masks])[5:-5, 5:-5, 5:-5], found)


def test_staple_trusts_the_better_masks():
    truth, good, other, bad = noisy_masks()
    assert (staple([bad, good, other]) != truth).sum() < (bad != truth).sum() / 4


def test_staple_falls_back_on_the_vote_where_it_cannot_decide():
    one, two = row(2, 2, 0), row(0, 2, 2)
    found = staple([one, two])
    assert set(listed(found)) <= {0, 2}
    assert listed(found)[1] == 2


class Study:
    """Members' masks and probabilities of some cases on disk, and the job that combines them."""

    def __init__(self, folder: Path, cases: tuple[str, ...] = ("a", "b"), tta: tuple[bool | None, ...] = (True,)) -> None:
        self.folder, self.cases = folder, cases
        self.affine = np.diag([-1.0, -1.0, 2.0, 1.0])
        rng = np.random.default_rng(0)
        write_table(folder / "split.csv", pd.DataFrame([{"case_id": c, "patient_id": f"p{c}", "set": "test"} for c in cases]))
        write_json(folder / "dataset.json", DATASET)
        write_json(folder / "plans.json", PLANS)
        for member in "xyz":
            rows, hashes = [], []
            for case in cases:
                for value in tta:
                    place = folder / member / "without_tta" if value is False and len(tta) > 1 else folder / member
                    mask = rng.integers(0, 4, SHAPE).astype(np.uint8)
                    path = self.write_mask(place / f"{case}.nii.gz", mask)
                    self.write_probabilities(place / "probabilities" / case, rng.random((3, *SHAPE[::-1]), np.float32))
                    hashes.append([case, value, hash_probabilities(place / "probabilities", case)])
                    rows.append([case, f"p{case}", None, value, str(path), sha256_file(path)])
            write_table(folder / member / "predictions.csv", pd.DataFrame(rows, columns=COLUMNS))
            write_table(folder / member / "probabilities.csv", pd.DataFrame(hashes, columns=["case_id", "tta", "sha256"]))

    def write_mask(self, path: Path, labels: np.ndarray) -> Path:
        write_volume(path, Volume(labels, self.affine))
        return path

    def write_probabilities(self, path: Path, probabilities: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(f"{path}.npz", probabilities=probabilities)
        where = {"spacing": (1.0, 1.0, 2.0), "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
        Path(f"{path}.pkl").write_bytes(pickle.dumps({"sitk_stuff": where, "spacing": [2.0, 1.0, 1.0]}))

    def change_mask(self, member: str, case: str, labels: np.ndarray) -> None:
        path = self.write_mask(self.folder / member / f"{case}.nii.gz", labels)
        table = read_predictions(self.folder / member / "predictions.csv")
        table.loc[table["case_id"] == case, "sha256"] = sha256_file(path)
        write_table(self.folder / member / "predictions.csv", table)

    def change_probabilities(self, member: str, case: str, value: float) -> None:
        """Write other probabilities and their hash, as a member that was trained again would, its mask as it was."""
        folder = self.folder / member / "probabilities"
        self.write_probabilities(folder / case, np.full((3, *SHAPE[::-1]), value, np.float32))
        table = read_predictions(self.folder / member / "probabilities.csv")
        table.loc[table["case_id"] == case, "sha256"] = hash_probabilities(folder, case)
        write_table(self.folder / member / "probabilities.csv", table)

    def mask(self, member: str, case: str) -> np.ndarray:
        return read_labels(self.folder / member / f"{case}.nii.gz").data

    def run(self, members: str = "xyz", threads: int = 1, set_name: str = "test", **params: Any) -> tuple[str, pd.DataFrame]:
        defaults = {"method": "mean", "merge": {}, "regions": ["WT", "TC", "ET"], "tta": [True]}
        released = {member: f"results/models/{member}/probabilities_released.json" for member in members}
        named = {**defaults, **params, "members": list(members), "released": released, "cache": self.folder / "cache.jsonl"}
        files = {name: self.folder / f"{name}.json" for name in ("dataset", "plans")}
        tables = [self.folder / member / "predictions.csv" for member in members]
        inputs = Inputs(split=self.folder / "split.csv", predictions=tables, **files)
        if set_name == "cv":
            inputs.folds = sorted(self.folder.glob("fold_*.json"))
        else:
            inputs.probabilities = [self.folder / member / "probabilities.csv" for member in members]
        job = SimpleNamespace(
            input=inputs,
            output=[self.folder / "made/predictions.csv"],
            params=SimpleNamespace(**named),
            threads=threads,
            wildcards=SimpleNamespace(set=set_name, model="made"),
        )
        said = script.main(job, Console())
        return said, read_predictions(self.folder / "made/predictions.csv")


class Inputs(SimpleNamespace):
    def get(self, name: str, default: Any) -> Any:
        return getattr(self, name, default)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_the_mean_is_that_of_nnunetv2_ensemble(study):
    from nnunetv2.ensembling.ensemble import ensemble_folders  # what the command calls

    said, table = study.run(threads=2)
    assert said == "2 masks made from x, y, z"
    for member in "xyz":
        for name in ("dataset", "plans"):
            write_json(study.folder / member / "probabilities" / f"{name}.json", {"dataset": DATASET, "plans": PLANS}[name])
    folders = [study.folder / member / "probabilities" for member in "xyz"]
    ensemble_folders([str(folder) for folder in folders], str(study.folder / "theirs"), num_processes=1)
    for case, path in zip(table["case_id"], table["prediction"], strict=True):
        theirs = nib.load(study.folder / "theirs" / f"{case}.nii.gz")
        ours = nib.load(path)
        assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        assert np.allclose(ours.affine, theirs.affine)
        assert len(np.unique(np.asarray(ours.dataobj))) == 4
    assert not list((study.folder / "made").glob(".*"))


def test_the_mean_of_probabilities_worked_out_by_hand(study):
    for member, value in (("x", 0.9), ("y", 0.2)):  # the mean is 0.55: whole tumour everywhere
        probabilities = np.zeros((3, *SHAPE[::-1]), np.float32)
        probabilities[0] = value
        probabilities[2, 0, 0, 3] = value  # enhancing at x = 3, y = 0, z = 0
        study.write_probabilities(study.folder / member / "probabilities/a", probabilities)
    study.run("xy")
    made = study.mask("made", "a")
    assert made[3, 0, 0] == 3
    assert (np.delete(made.ravel(), np.ravel_multi_index((3, 0, 0), SHAPE)) == 2).all()


def test_a_merged_region_is_its_members_and_the_rest_the_mean(study):
    study.run()
    mean = study.mask("made", "a")
    study.run(merge={"ED": "y"})
    made, member = study.mask("made", "a"), study.mask("y", "a")
    assert not ((made == 2) & (member != 2)).any()
    assert np.array_equal(made[np.isin(mean, [1, 3])], mean[np.isin(mean, [1, 3])])
    assert ((made == 2) == ((member == 2) & ~np.isin(mean, [1, 3]))).all()


def test_regions_that_hold_all_labels_need_neither_probabilities_nor_other_members(study):
    for path in study.folder.rglob("probabilities/*"):
        path.unlink()
    said, table = study.run("xy", merge={"TC": "x", "ED": "y"})
    x, y = study.mask("x", "a"), study.mask("y", "a")
    assert said == "2 masks made from x, y"
    assert np.array_equal(study.mask("made", "a"), np.where(np.isin(x, [1, 3]), x, np.where(y == 2, 2, 0)))
    assert table["patient_id"].tolist() == ["pa", "pb"]
    assert np.allclose(read_labels(table["prediction"][0]).affine, study.affine)


@pytest.mark.parametrize(("method", "combine"), [("vote", vote), ("staple", staple)])
def test_masks_are_combined_by_vote_and_by_staple(study, method, combine):
    study.run(method=method, threads=2)
    for case in study.cases:
        assert np.array_equal(study.mask("made", case), combine([study.mask(member, case) for member in "xyz"]))
    study.run(method=method, merge={"ET": "z"})
    assert np.array_equal(study.mask("made", "a") == 3, (study.mask("z", "a") == 3) & ~np.isin(study.mask("made", "a"), [1, 2]))


def test_what_is_unchanged_is_not_made_again(study, monkeypatch):
    study.run(method="vote")
    made = []
    combine = script.combine
    monkeypatch.setattr(script, "combine", lambda task, *rest: made.append(task.case) or combine(task, *rest))
    assert study.run(method="vote")[0] == "0 masks made from x, y, z, 2 unchanged"
    study.change_mask("z", "b", np.ones(SHAPE, np.uint8))
    study.run(method="vote")
    assert made == ["b"]
    study.run(method="staple")
    assert made == ["b", "a", "b"]
    study.write_mask(study.folder / "made/a.nii.gz", np.zeros(SHAPE, np.uint8))
    study.run(method="staple")
    assert made == ["b", "a", "b", "a"]
    study.run(method="staple", merge={"ET": "x", "NCR": "y"})
    study.run(method="staple", merge={"NCR": "y", "ET": "x"})  # in another order it is another merge
    assert len(made) == 8


def test_finished_masks_need_no_probabilities_and_others_say_which_are_gone(study):
    study.run()
    (study.folder / "x/probabilities/a.pkl").unlink()
    for case in study.cases:
        (study.folder / "y/probabilities" / f"{case}.npz").unlink()
    assert study.run()[0].endswith("2 unchanged")
    with pytest.raises(UserError) as caught:
        study.run(merge={"ED": "x"})
    said = str(caught.value)
    assert said.startswith(
        f"a: the probabilities of the model 'x' are gone: {study.folder}/x/probabilities/a.pkl does not exist"
    )
    assert "(and so with 2 other masks)" in said
    assert said.endswith(
        "delete results/models/x/probabilities_released.json and results/models/y/probabilities_released.json "
        "and run again with --forcerun train_fold predict_cases"
    )


def test_probabilities_that_moved_behind_the_same_masks_make_another_mean(study):
    study.change_probabilities("x", "a", 0.1)
    study.change_probabilities("y", "a", 0.52)
    study.run("xy")
    assert not study.mask("made", "a").any()  # the mean is 0.31
    study.change_probabilities("x", "a", 0.49)
    assert study.run("xy", method="vote")[0].startswith("2 masks made")
    study.run("xy")
    study.change_probabilities("x", "a", 0.495)
    assert study.run("xy")[0] == "1 mask made from x, y, 1 unchanged"
    assert study.mask("made", "a").all()  # 0.5075
    study.change_probabilities("x", "a", 0.1)
    assert study.run("xy", method="vote")[0] == "2 masks made from x, y"
    study.change_probabilities("x", "a", 0.2)
    assert study.run("xy", method="vote")[0] == "0 masks made from x, y, 2 unchanged"  # a vote reads none


def test_a_changed_case_needs_its_own_probabilities_alone(study):
    study.run()
    (study.folder / "x/probabilities/a.npz").unlink()
    study.change_mask("z", "b", np.ones(SHAPE, np.uint8))
    assert study.run()[0] == "1 mask made from x, y, z, 1 unchanged"


def test_masks_with_and_without_mirroring_are_made_from_their_like(tmp_path):
    study = Study(tmp_path, tta=(True, False))
    _, table = study.run("xy", tta=[True, False], merge={"TC": "x", "ED": "y"})
    assert table[["case_id", "tta"]].to_numpy().tolist() == [["a", True], ["a", False], ["b", True], ["b", False]]
    assert [Path(path).parent.name for path in table["prediction"]] == ["made", "without_tta"] * 2
    x, y = (read_labels(tmp_path / member / "without_tta/a.nii.gz").data for member in "xy")
    made = read_labels(tmp_path / "made/without_tta/a.nii.gz").data
    assert np.array_equal(made, np.where(np.isin(x, [1, 3]), x, np.where(y == 2, 2, 0)))
    assert not np.array_equal(made, study.mask("made", "a"))


def test_the_mean_without_mirroring_takes_the_probabilities_without_it(tmp_path):
    study = Study(tmp_path, tta=(True, False))
    study.run("xy", tta=[True, False])
    alone = Study(tmp_path / "alone", tta=(False,))
    for member in "xy":
        for case in study.cases:
            for ending in (".npz", ".pkl"):
                source = tmp_path / member / "without_tta/probabilities" / f"{case}{ending}"
                (alone.folder / member / "probabilities" / f"{case}{ending}").write_bytes(source.read_bytes())
    _, table = alone.run("xy", tta=[False])
    assert not table["tta"].any()
    assert np.array_equal(alone.mask("made", "a"), read_labels(tmp_path / "made/without_tta/a.nii.gz").data)


def test_members_that_were_predicted_in_different_ways_give_masks_of_unknown_tta(tmp_path):
    study = Study(tmp_path, tta=(True, False))
    table = read_predictions(tmp_path / "y/predictions.csv")
    write_table(tmp_path / "y/predictions.csv", table[~table["tta"]])
    _, made = study.run("xy", tta=[None], method="vote")
    assert made["tta"].isna().all()
    assert made["case_id"].tolist() == ["a", "b"]
    x, y = study.mask("x", "a"), read_labels(tmp_path / "y/without_tta/a.nii.gz").data
    assert np.array_equal(study.mask("made", "a"), vote([x, y]))


def test_a_member_without_the_mask_is_named(study):
    with pytest.raises(UserError, match=r"a: .*x/predictions.csv of the model 'x' has no mask with tta False; one is needed"):
        study.run(tta=[False])
    table = read_predictions(study.folder / "z/predictions.csv")
    write_table(study.folder / "z/predictions.csv", table[table["case_id"] != "b"])
    with pytest.raises(UserError, match=r"b: .*z/predictions.csv of the model 'z' has no mask; one is needed"):
        study.run(tta=[None])


def test_masks_on_different_grids_are_named(study):
    study.affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    study.change_mask("y", "b", study.mask("y", "b"))
    with pytest.raises(UserError, match=r"b: .*x/b.nii.gz and .*y/b.nii.gz do not lie on one grid"):
        study.run(method="vote")


@pytest.mark.parametrize("both", [False, True])
def test_probabilities_of_cv_come_from_the_fold_that_validated_the_case(tmp_path, both):
    tta = (True, False) if both else (False,)
    study = Study(tmp_path, tta=tta)
    split = pd.DataFrame([{"case_id": c, "patient_id": f"p{c}", "set": "train"} for c in "ab"])
    write_table(tmp_path / "split.csv", split)
    for member in "xy":
        table = read_predictions(tmp_path / member / "predictions.csv")
        write_table(tmp_path / member / "predictions.csv", table.assign(fold=table["case_id"].map({"a": 1, "b": 0})))
        for fold, case in enumerate("ba"):
            ours = tmp_path / f"folds/{member}/{fold}"
            validation = {"folder": str(ours / "plain"), "cases": [case]} | (
                {"folder_without_tta": str(ours / "w")} if both else {}
            )
            write_json(tmp_path / f"fold_{member}{fold}.json", {"model": member, "fold": fold, "validation": validation})
            for name, value in (("plain", 1.0), ("w", 0.0)) if both else (("plain", 0.0),):
                study.write_probabilities(ours / name / case, np.full((3, *SHAPE[::-1]), value, np.float32))
    _, table = study.run("xy", set_name="cv", tta=list(tta), threads=2)
    assert table["fold"].tolist() == ([1, 1, 0, 0] if both else [1, 0])
    assert [int(read_labels(path).data.max()) for path in table["prediction"]] == ([3, 0] * 2 if both else [0, 0])


def test_what_a_killed_job_left_unfinished_is_swept_away(study):
    left = study.folder / "made/without_tta/.mean.a.nii.gz"
    left.parent.mkdir(parents=True)
    left.touch()
    study.run()
    assert not left.exists()
