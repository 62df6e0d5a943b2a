import json
import re
import zipfile

import pytest
import yaml
from conftest import REPO

from glioflow.console import UserError
from glioflow.study.configuration import RESERVED_ENDINGS, ImportedModel, Study
from glioflow.study.registry import CONFIG_DIR
from glioflow.workflow.checks import load_study


def study(text: str) -> Study:
    return load_study(yaml.safe_load(text), "study.yaml")


def problems(text: str) -> str:
    with pytest.raises(UserError) as caught:
        study(text)
    return str(caught.value)


DEMO = "cohorts: {demo: {dataset: phantom, cases: 8}}\n"


def test_defaults_are_filled_in():
    loaded = study(DEMO + "models: {m: {cohort: demo}}")
    assert loaded.models["m"].folds == 5
    assert loaded.models["m"].epochs == 1000
    assert loaded.failure.rank_by == "hausdorff"
    assert loaded.results == "results"


def test_unknown_keys_are_named_with_a_suggestion_all_at_once():
    message = problems("cohorts: {demo: {dataset: phantom, casess: 3}}\nmodels: {m: {cohort: demo, epoch: 3}}\nfailur: {}")
    assert "study.yaml: 3 problems" in message
    assert "cohorts.demo.casess: unknown key; did you mean 'cases'?" in message
    assert "models.m.epoch: unknown key; did you mean 'epochs'?" in message
    assert "failur: unknown key; did you mean 'failure'?" in message


def test_a_missing_key_says_what_is_expected():
    message = problems("cohorts: {demo: {dataset: bids, label_scheme: canonical}}")
    assert "cohorts.demo.path: missing; expected: Folder with the tree" in message


def test_wrong_values_say_what_was_found():
    assert "models.m.epochs: input should be greater than or equal to 1; found -1" in problems(
        DEMO + "models: {m: {cohort: demo, epochs: -1}}"
    )
    assert "found 'flare'" in problems(DEMO + "models: {m: {cohort: demo, channels: [flare]}}")


def test_names_that_cannot_be_folders_are_refused():
    assert "models.a b: a name may hold letters" in problems(DEMO + "models: {a b: {cohort: demo}}")
    assert "name of a prediction set" in problems("cohorts: {cv: {dataset: phantom}}")


def test_a_cohort_whose_scores_would_be_taken_for_another_sets_table_is_refused():
    rules = (REPO / "rules/evaluation.smk").read_text()
    endings = set(re.findall(r"<results>/scores/\{model\}/\{set\}(_\w+)", rules))
    assert endings == set(RESERVED_ENDINGS)
    for ending in endings:
        said = problems(f"cohorts: {{c{ending}: {{dataset: phantom}}}}")
        assert f"cohorts.c{ending}: 'c{ending}' ends in '{ending}', as a file beside a set's scores does" in said
    assert study("cohorts: {summary: {dataset: phantom}, c_summary_2: {dataset: phantom}}").cohorts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models: {m: {cohort: dem}}", "models.m.cohort: no cohort is called 'dem'; did you mean 'demo'?"),
        ("models: {m: {cohort: demo, external: [x]}}", "no cohort is called 'x'"),
        ("models: {m: {cohort: demo, external: [demo]}}", "is what the model is trained on"),
        ("models: {m: {cohort: demo, regions: [ET, WT]}}", "from the largest region to the smallest"),
        ("models: {m: {cohort: demo, channels: [t1, t1]}}", "a channel stands twice"),
        ("models: {m: {cohort: demo, configuration: 2d, plans: {patch_size: [1, 2, 3]}}}", "2 axes of 2d"),
        ("models: {m: {cohort: demo, predictions: masks, label_scheme: canonical}}", "has no {case}"),
        ("cohorts: {f: {dataset: lumiere, path: .}}", "cohorts.f.label_scheme: missing; the sources of lumiere contradict"),
        ("models: {m: {cohort: demo, predictions: 'no/{case}.nii', label_scheme: brat21}}", "unknown label scheme 'brat21'"),
        ("models: {a: {cohort: demo}}\nensembles: {e: {members: [a, b]}}", "no trained model is called 'b'"),
        ("models: {a: {cohort: demo}, b: {cohort: demo, folds: 3}}\nensembles: {e: {members: [a, b]}}", "differ in folds"),
        ("models: {a: {cohort: demo}, b: {cohort: demo}}\nensembles: {a: {members: [a, b]}}", "a model has this name already"),
        ("failure: {sets: [cw]}", "no set is called 'cw'"),
        ("quality: {sets: [cw]}", "quality.sets: no set is called 'cw'"),
        ("quality: {response_decrease: 65}", "quality.response_decrease"),
        ("failure: {region: RC}", "RC is not among evaluation.regions"),
        ("models: {m: {cohort: demo, folds: 3, prediction_folds: [0, 3]}}", "there is no fold 3; the model has 3"),
        (
            "models: {m: {cohort: demo, network: equiunet, plans: {patch_size: [36, 32, 32]}}}",
            "[36, 32, 32] is not divisible by 8, as the equiunet needs it; [40, 32, 32] would be",
        ),
        ("models: {m: {cohort: demo, trainer: 'no/such.py:Mine'}}", "models.m.trainer: there is no file"),
        ("models: {m: {cohort: demo, trainer: nnUNetTrainerDA55}}", "did you mean 'nnUNetTrainerDA5'"),
        ("models: {m: {cohort: demo, plans: {n_stages: 2}}}", "found 2; deep supervision needs at least 3 stages"),
        ("models: {m: {cohort: demo, archive: no/such.zip}}", "models.m.archive: no/such.zip: there is no such file"),
        (
            "evaluation: {lesionwise: brats2023}",
            "no convention of this name scores lesions: 'brats2023'; did you mean 'brats2023_gli'?",
        ),
        ("evaluation: {regions: [WT, WT]}", "evaluation.regions: a region stands twice in ['WT', 'WT']"),
        ("evaluation: {convention: medpi}", "no convention is called 'medpi'; did you mean 'medpy'?"),
        ("evaluation: {convention: nnunet}", "the convention 'nnunet' defines no hausdorff; dice can rank the cases"),
        ("evaluation: {convention: medpy}", "'medpy' measures in voxels, and the tables are in mm; score_folders.py can"),
        ("evaluation: {reproduce_defects: true}", "needs a lesionwise convention with known defects: brats2024_gli"),
        (
            "models: {a: {cohort: demo}, b: {cohort: demo}}\nensembles: {e: {members: [a, b], merge: {TC: a, ED: b, ET: b}}}",
            "ensembles.e.merge: TC and ET share ET; regions to merge must share no label",
        ),
        (
            "models: {a: {cohort: demo, regions: [TC]}, b: {cohort: demo, regions: [TC]}}\n"
            "ensembles: {e: {members: [a, b], merge: {ED: b}}}",
            "ensembles.e.merge.ED: the member 'b' cannot show ED; it sees TC",
        ),
        (
            "models: {a: {cohort: demo}, b: {cohort: demo}}\nensembles: {e: {members: [a, b], merge: {ED: c}}}",
            "ensembles.e.merge.ED: 'c' is not a member",
        ),
        ("ensembles: {e: {members: [e, f]}, f: {members: [f, e]}}", "no trained model is called 'e'"),
        ("models: {m: {cohort: demo, regions: [TC]}}", "failure.region: WT is not applicable to the model 'm', which sees TC"),
        (
            "models: {a: {cohort: demo, regions: [TC]}, b: {cohort: demo, regions: [TC]}}\nensembles: {e: {members: [a, b]}}",
            "failure.region: WT is not applicable to the ensemble 'e', which sees TC",
        ),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere_are_named(text, expected):
    assert expected in problems(DEMO + text)


@pytest.mark.parametrize(
    ("key", "wrong", "names"),
    [
        ("network", "unet", ["plain", "resenc_m", "resenc_l", "attention_resunet", "equiunet"]),
        ("loss", "dice", ["dice_ce", "soft_dice", "focal_ce"]),
        ("optimiser", "lion", ["sgd", "adam", "adamw", "ranger"]),
        ("schedule", "step", ["poly", "cosine", "constant"]),
        ("tta", "maybe", ["both"]),
    ],
)
def test_a_choice_that_there_is_not_is_answered_with_those_there_are(key, wrong, names):
    message = problems(f"{DEMO}models: {{m: {{cohort: demo, {key}: {wrong}}}}}")
    assert "1 problem in" in message
    assert f"models.m.{key}: " in message
    assert f"found {wrong!r}" in message
    assert all(f"'{name}'" in message for name in names)


def test_keys_of_blocks_within_a_model_or_an_ensemble_are_looked_up_in_that_block():
    text = "models: {a: {cohort: demo, swa: {cycle: 3}}, b: {cohort: demo, postprocessing: {min_volume: [1]}}}\n"
    message = problems(DEMO + text + "ensembles: {e: {members: [a, b], postprocessing: {et_threshold: [1]}}}")
    assert "models.a.swa.cycle: unknown key; did you mean 'cycles'?" in message
    assert "models.b.postprocessing.min_volume: unknown key; did you mean 'min_volume_ml'?" in message
    assert "ensembles.e.postprocessing.et_threshold: unknown key; did you mean 'et_threshold_ml'?" in message


def test_the_new_keys_of_a_model_have_nnunets_choices_as_defaults():
    model = study(DEMO + "models: {m: {cohort: demo, swa: {}, postprocessing: {}}}").trained()["m"]
    assert (model.network, model.loss, model.optimiser, model.schedule) == ("plain", "dice_ce", "sgd", "poly")
    assert (model.weight_decay, model.deep_supervision, model.trainer, model.prediction_folds) == (3e-5, True, None, None)
    assert model.swa is not None
    assert model.swa.cycles * model.swa.epochs_per_cycle == 150
    assert model.postprocessing is not None
    assert model.postprocessing.largest_component == ["WT", "TC", "ET"]


@pytest.mark.parametrize("tta", [True, False, "both"])
def test_mirroring_is_on_off_or_both(tta):
    model = study(f"{DEMO}models: {{m: {{cohort: demo, tta: {tta}}}}}").trained()["m"]
    assert model.tta == tta
    assert type(model.tta) is type(tta)


@pytest.mark.parametrize(
    "model",
    [
        "plans: {n_stages: 2}, deep_supervision: false",
        "plans: {n_stages: 3}",
        "plans: {n_stages: 2}, trainer: nnUNetTrainerNoDeepSupervision",  # whether it supervises deeply, the trainer decides
        "network: equiunet, plans: {patch_size: [36, 32, 32], n_stages: 3}",
        "plans: {patch_size: [36, 32, 32]}",  # the strides of other networks follow the patch
    ],
)
def test_what_a_network_can_be_is_taken(model):
    study(f"{DEMO}models: {{m: {{cohort: demo, {model}}}}}")


def test_regions_to_merge_may_be_any_that_share_no_label():
    members = "models: {a: {cohort: demo}, b: {cohort: demo}}\n"
    study(DEMO + members + "ensembles: {e: {members: [a, b], merge: {TC: a, ED: b}}, f: {members: [a, b], merge: {ET: b}}}")


@pytest.fixture
def archive(tmp_path):
    """Write a zip that describes itself as a model of t1 and flair with folds 0 and 2 that predicts these regions."""

    def write(*regions: str):
        files = ["plans.json", "dataset.json", "README.md", "fold_0/checkpoint_final.pth", "fold_2/checkpoint_final.pth"]
        fold = {"key": "0" * 64, "versions": {}}
        described = {
            "format": "glioflow model", "format_version": 1, "name": "theirs", "channels": ["t1", "flair"],
            "regions": list(regions), "outputs": "regions", "configuration": "3d_fullres", "trainer": "GlioflowTrainer",
            "network": "glioflow_networks.EquiUnet", "folds": [0, 2], "tta": True, "trained": {"0": fold, "2": fold},
            "files": dict.fromkeys(files, "0" * 64),
        }  # fmt: skip
        with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as opened:
            opened.writestr("theirs/model.json", json.dumps(described))
        return tmp_path / "theirs.zip"

    return write


def test_an_imported_model_predicts_its_cohorts_and_is_not_trained(archive):
    cohorts = "cohorts: {demo: {dataset: phantom}, other: {dataset: phantom, external: true}}\n"
    path = archive("WT", "TC", "ET")
    loaded = study(f"{cohorts}models: {{m: {{cohort: demo, archive: {path}, external: [other], prediction_folds: [2]}}}}")
    assert isinstance(loaded.models["m"], ImportedModel)
    assert loaded.trained() == {}
    assert list(loaded.predicting()) == ["m"]
    assert loaded.sets_of("m") == ["demo", "other"]
    assert loaded.failure_sets_of("m") == ["demo"]
    assert loaded.cohort_of_set("m", "other") == "other"


def test_what_an_imported_model_cannot_do_is_known_from_its_archive(archive, tmp_path):
    path = archive("TC", "ET")
    files = "{flair: '{case}_f.nii', label: '{case}.nii'}"
    flair = f"{{dataset: folders, path: {tmp_path}, label_scheme: canonical, files: {files}}}"
    message = problems(f"cohorts: {{c: {flair}}}\nmodels: {{m: {{cohort: c, archive: {path}, prediction_folds: [0, 1]}}}}")
    assert "models.m.prediction_folds: the archive has no fold 1, but 0, 2" in message
    assert "models.m.channels: the cohort 'c' has no channel t1; it has flair" in message
    assert "failure.region: WT is not applicable to the model 'm', which sees TC, ET" in message


def test_an_ensemble_needs_members_that_are_trained_here(archive):
    models = f"models: {{a: {{cohort: demo}}, m: {{cohort: demo, archive: {archive('WT')}}}}}\n"
    assert "no trained model is called 'm'" in problems(DEMO + models + "ensembles: {e: {members: [a, m]}}")


def test_a_cohort_without_the_channel_is_refused_with_what_it_has(tmp_path):
    text = f"""
cohorts:
  c:
    dataset: folders
    path: {tmp_path}
    label_scheme: canonical
    files: {{flair: "{{case}}_f.nii", label: "{{case}}_l.nii"}}
models: {{m: {{cohort: c, channels: [flair, t1ce]}}}}
"""
    assert "models.m.channels: the cohort 'c' has no channel t1ce; it has flair" in problems(text)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("on_missing_channel: substitute", "cohorts.c.substitute: missing; on_missing_channel: substitute needs to know"),
        ("substitute: {t1: flair}", "cohorts.c.substitute: has an effect only with on_missing_channel: substitute"),
        ("on_missing_channel: exclude, substitute: {t1: flair}", "cohorts.c.substitute: has an effect only with"),
        ("on_missing_channel: substitute, substitute: {t1: t1}", "cohorts.c.substitute.t1: t1 cannot take its own place"),
        (
            "on_missing_channel: substitute, substitute: {t1: t1ce, t1ce: zeros}",
            "cohorts.c.substitute.t1: t1ce is itself substituted, by zeros, where it is missing",
        ),
        (
            "on_missing_channel: substitute, substitute: {t1: adc}",
            "cohorts.c.substitute.t1: input should be 't1', 't1ce', 't2', ",
        ),
        (
            "on_missing_channel: substitute, substitute: {t1c: flair}",
            "cohorts.c.substitute.t1c: input should be 't1', 't1ce', 't2' or",
        ),
        (
            "on_missing_channel: skip",
            "cohorts.c.on_missing_channel: input should be 'error', 'exclude' or 'substitute'; found 'skip'",
        ),
    ],
)
def test_what_takes_the_place_of_a_channel_is_asked_for_and_there(keys, expected, tmp_path):
    message = problems(f"cohorts: {{c: {{dataset: brats2021, path: {tmp_path}, {keys}}}}}")
    assert "study.yaml: 1 problem in the configuration" in message
    assert expected in message


def test_each_channel_of_a_cycle_of_substitutes_is_named(tmp_path):
    cycle = "on_missing_channel: substitute, substitute: {t1: t1ce, t1ce: t1}"
    message = problems(f"cohorts: {{c: {{dataset: brats2021, path: {tmp_path}, {cycle}}}}}")
    assert "substitute.t1: t1ce is itself" in message and "substitute.t1ce: t1 is itself" in message


def test_a_channel_that_a_cohort_never_has_may_be_substituted(tmp_path):
    keys = f"dataset: lgg_kaggle, path: {tmp_path}"
    models = "\nmodels: {m: {cohort: c, channels: [t2, flair], regions: [WT]}}\nevaluation: {regions: [WT]}"
    assert "the cohort 'c' has no channel t2" in problems(f"cohorts: {{c: {{{keys}}}}}{models}")
    replaced = "on_missing_channel: substitute, substitute: {t2: zeros}"
    assert study(f"cohorts: {{c: {{{keys}, {replaced}}}}}{models}").models["m"].channels == ["t2", "flair"]


def test_folders_and_variables_that_do_not_exist_are_named(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    message = problems("cohorts: {a: {dataset: brats2021, path: $NOWHERE/x}, b: {dataset: brats2021, path: /no/such}}")
    assert "cohorts.a.path: the environment variable NOWHERE is not set" in message
    assert "cohorts.b.path: /no/such is not a folder that exists" in message


def test_an_unknown_data_set_suggests_a_known_one(tmp_path):
    assert "did you mean 'brats2021'?" in problems(f"cohorts: {{a: {{dataset: brats2012, path: {tmp_path}}}}}")


def test_sets_follow_the_split_and_the_kind_of_model(tmp_path):
    loaded = study(
        "cohorts: {demo: {dataset: phantom, test_fraction: 0.2}, other: {dataset: phantom}}\n"
        "models: {a: {cohort: demo, external: [other]}, b: {cohort: demo},"
        f" g: {{cohort: demo, predictions: '{tmp_path}/{{case}}.nii.gz', label_scheme: canonical}}}}\n"
        "ensembles: {e: {members: [a, b]}}"
    )
    assert loaded.sets_of("a") == ["cv", "test", "other"]
    assert loaded.sets_of("g") == ["given"]
    assert loaded.sets_of("e") == ["cv", "test"]
    assert loaded.failure_sets_of("a") == ["cv"]
    assert loaded.cohort_of_set("a", "other") == "other"
    assert loaded.cohort_of("e") == "demo"


def test_the_committed_schema_is_that_of_the_model():
    assert json.loads((CONFIG_DIR / "schema.json").read_text()) == Study.model_json_schema()


def test_the_readme_has_every_key_with_its_default():
    from glioflow.workflow.docs import fill

    page = CONFIG_DIR / "README.md"
    assert page.read_text(encoding="utf-8") == fill(page.read_text(encoding="utf-8"))


def test_folds_by_a_covariate_need_their_number():
    folds_by = "models: {m: {cohort: demo, folds_by: site%s}}"
    assert "models.m.folds: missing; folds_by makes a fold of each value of site: give the number" in problems(
        DEMO + folds_by % ""
    )
    assert study(DEMO + folds_by % ", folds: 3").models["m"].folds_by == "site"
    members = "models: {a: {cohort: demo, folds: 3, folds_by: site}, b: {cohort: demo, folds: 3}}"
    assert "they differ in folds_by" in problems(DEMO + members + "\nensembles: {e: {members: [a, b]}}")


def test_sizes_of_a_split_go_with_what_is_drawn_only():
    cohort = "cohorts: {demo: {dataset: phantom, cases: 8, %s}}"
    assert "test_fraction and test_size are given together" in problems(cohort % "test_fraction: 0.2, test_size: 2")
    assert "train_size: nothing is drawn where external is given" in problems(cohort % "external: true, train_size: 4")
    loaded = study(cohort % "test_size: 2, train_size: 4" + "\nmodels: {m: {cohort: demo}}")
    assert loaded.sets_of("m") == ["cv", "test"]
