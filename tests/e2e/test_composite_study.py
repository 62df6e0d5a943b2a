"""Of one study with every kind of model: what each stage leaves, and that a kill or a change costs no more than it must."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from composite import FOLD
from test_demo import checkpoints
from workflows import planned_jobs, snakemake

pytestmark = pytest.mark.e2e

STUDY = ("--configfile", "study.yaml")
OTHER_TABLES = ("_summary", "_groups", "_conventions", "_convention_ranks", "_warnings")  # beside the scores of a set


@pytest.fixture(scope="module")
def results(composite):
    return composite.checkout / "results"


@pytest.fixture(scope="module")
def copy(composite, tmp_path_factory):
    """A copy of the study to change; the results' paths are relative, so it is a study of its own."""
    return shutil.copytree(composite.checkout, tmp_path_factory.mktemp("changed") / "glioflow", symlinks=True)


def plans(results, model):
    return json.loads(next((results / f"models/{model}").rglob("glioflowPlans.json")).read_text())


def mask(results, model, name):
    return np.asarray(nib.load(results / f"predictions/{model}/cv/{name}").dataobj)


def test_a_killed_training_resumes_where_it_was_saved_and_leaves_no_process(composite, results):
    assert "[train_fold full 0] epoch 2/3" in composite.killed
    assert composite.left == []
    assert "[train_fold full 0] resuming from the last checkpoint" in composite.said
    assert "[train_fold full 0] epoch 3/3" in composite.said
    assert "[train_fold full 0] epoch 1/3" not in composite.said
    assert pd.read_csv(results / "models/full/fold_0/curves.csv")["epoch"].tolist() == [0, 1, 2]


def test_every_set_of_every_model_is_scored(results):
    scores = {str(path.relative_to(results / "scores"))[:-4]: pd.read_csv(path) for path in results.glob("scores/*/*.csv")}
    sets = {name: table["case_id"].nunique() for name, table in scores.items() if not name.endswith(OTHER_TABLES)}
    assert sets == {
        "full/cv": 4, "full/other": 6, "slices/cv": 4, "equiunet/cv": 4, "classes/cv": 6, "mean/cv": 4, "merged/cv": 4,
    }  # fmt: skip
    assert scores["full/cv"].columns[:7].tolist() == ["patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"]
    for pair in ("full/cv", "full/other", "equiunet/cv", "merged/cv"):
        ways = scores[pair].groupby(["case_id", "label"])["tta"].agg(sorted).map(tuple)
        assert ways.unique().tolist() == [(False, True)]
    for pair in ("slices/cv", "classes/cv", "mean/cv"):
        assert not scores[pair]["tta"].any()


def test_lesions_are_scored_as_the_study_asks(results):
    whole = pd.read_csv(results / "scores/full/other.csv").query("label == 'WT'")
    assert whole["lesion_dice"].between(0, 1).all()
    assert whole["lesion_sens"].between(0, 1).all()
    assert (whole["lesions_found"] <= whole["lesions_truth"]).all()


def test_the_external_cohort_is_shown_by_group(results):
    groups = pd.read_csv(results / "scores/full/other_groups.csv")
    assert set(groups["covariate"]) == {"planted"}
    dice = groups[(groups["label"] == "WT") & (groups["metric"] == "dice")]
    assert dice["n"].groupby(dice["tta"]).sum().tolist() == [6, 6]
    assert len(dice) == 4


def test_each_network_is_what_the_study_names(results):
    assert "AttentionResUNet" in str(plans(results, "full")["configurations"])
    assert "EquiUnet" in str(plans(results, "equiunet")["configurations"])
    assert "PlainConvUNet" in str(plans(results, "classes")["configurations"])
    assert list(plans(results, "slices")["configurations"]) == ["2d"]
    assert len(pd.read_csv(results / "models/equiunet/fold_0/curves.csv")) == 4  # two epochs and a cycle of two


def test_where_every_label_is_a_region_a_softmax_is_trained_on_labels_with_soft_dice_alone(results):
    dataset = json.loads(next((results / "models/classes").rglob("raw/*/dataset.json")).read_text())
    assert dataset["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3, "RC": 4}
    assert "regions_class_order" not in dataset
    assert plans(results, "classes")["glioflow"]["loss"] == "soft_dice"
    course = pd.read_csv(results / "models/classes/fold_0/curves.csv")
    # Soft Dice lies between -1 and 0, with neither cross-entropy added.
    assert course["train_loss"].between(-1, 0).all()
    assert {"pseudo_dice_ED", "pseudo_dice_NCR", "pseudo_dice_ET"} <= set(course.columns)
    summary = pd.read_csv(results / "scores/classes/cv_summary.csv")
    assert {"ED", "ET"} <= set(summary["label"])
    assert {"sens", "spec"} <= set(summary["metric"])


def test_the_largest_component_is_chosen_on_cv_and_applied(results):
    chosen = json.loads((results / "models/equiunet/postprocessing.json").read_text())
    assert {step["operation"] for step in chosen["tried"]} == {"largest_component"}
    assert chosen["dice"]["after"]["WT"] >= chosen["dice"]["before"]["WT"]
    table = pd.read_csv(results / "postprocessed/equiunet/cv/predictions.csv")
    assert len(table) == 4 * 2  # with mirroring and without


def test_masks_of_a_2d_network_are_volumes(results):
    for path in (results / "predictions/slices/cv").glob("*.nii.gz"):
        assert nib.load(path).shape == nib.load(results / "predictions/full/cv" / path.name).shape


def test_an_ensemble_of_probabilities_takes_its_merged_label_from_its_member(results):
    names = [path.name for path in (results / "predictions/mean/cv").glob("*.nii.gz")]
    assert len(names) == 4
    for name in names:
        mean, member = mask(results, "mean", name), mask(results, "slices", name)
        assert not ((mean == 2) & (member != 2)).any()
        assert ((mean != 0) | (member != 2)).all()


def test_merged_regions_come_from_their_members_with_and_without_mirroring(results):
    for folder in ("", "without_tta/"):
        names = [f"{folder}{path.name}" for path in (results / "predictions/merged/cv" / folder).glob("*.nii.gz")]
        assert len(names) == 4
        for name in names:
            merged, core_of, oedema_of = (mask(results, model, name) for model in ("merged", "full", "equiunet"))
            core = np.isin(core_of, (1, 3))
            assert np.array_equal(merged[core], core_of[core])
            assert np.array_equal(merged[~core], np.where(oedema_of[~core] == 2, 2, 0))


def test_the_chosen_sets_failures_are_analysed_and_all_is_reported(results):
    assert pd.read_csv(results / "failure/full/other/extremes.csv")["group"].tolist() == ["worst"] * 2 + ["best"] * 2
    assert [path.parent.name for path in results.glob("failure/*/*")] == ["full"]
    assert (results / "report/index.html").exists()


def test_no_image_is_copied_for_nnunet(results):
    raw = results / "models/full/nnunet/raw"
    assert {path.name for path in raw.rglob("*") if path.is_file()} == {"dataset.json", ".dataset.json.made.json"}


def test_a_second_run_has_nothing_to_do(composite):
    assert planned_jobs(snakemake(composite.checkout, "-n", *STUDY)) == {}


def test_other_epochs_train_afresh_and_the_former_training_comes_back(copy):
    before = checkpoints(copy)
    run = snakemake(copy, *STUDY, "--config", "models={full: {epochs: 4}}", "--", FOLD)
    assert run.returncode == 0, run.stdout
    assert "the former training is kept in" in run.stdout
    assert "epoch 1/4" in run.stdout
    back = snakemake(copy, *STUDY, "--", FOLD)
    assert back.returncode == 0, back.stdout
    assert "a training of exactly this was kept, and is used again" in back.stdout
    assert not re.search(r"epoch \d/", back.stdout)
    after = checkpoints(copy)
    assert {path: after[path] for path in before} == before


def test_probabilities_that_were_deleted_are_made_again_as_the_message_says(copy):
    ensemble = copy / "results/predictions/mean/cv"
    records = [f"results/models/{model}/probabilities_released.json" for model in ("full", "slices")]
    targets = (*STUDY, "--", "results/predictions/mean/cv/predictions.csv", *records)
    first = sorted(ensemble.glob("*.nii.gz"))[0]
    before = first.read_bytes()
    first.unlink()
    (ensemble / "predictions.csv").unlink()
    said = snakemake(copy, *targets).stdout
    assert "the probabilities of the model 'full' are gone" in said
    assert f"delete {records[0]} and {records[1]} and run again with --forcerun train_fold predict_cases" in said
    for record in records:
        (copy / record).unlink()
    run = snakemake(copy, "--forcerun", "train_fold", "predict_cases", *targets)
    assert run.returncode == 0, run.stdout
    assert not re.search(r"epoch \d/", run.stdout)
    assert first.read_bytes() == before
