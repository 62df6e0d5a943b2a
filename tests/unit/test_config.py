import json

import pytest
import yaml

from glioflow.config import Study
from glioflow.config_checks import load_study
from glioflow.console import UserError
from glioflow.registry import CONFIG_DIR


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
        ("models: {m: {cohort: demo, predictions: 'no/{case}.nii', label_scheme: brat21}}", "unknown label scheme 'brat21'"),
        ("models: {a: {cohort: demo}}\nensembles: {e: {members: [a, b]}}", "no trained model is called 'b'"),
        ("models: {a: {cohort: demo}, b: {cohort: demo, folds: 3}}\nensembles: {e: {members: [a, b]}}", "differ in folds"),
        ("models: {a: {cohort: demo}, b: {cohort: demo}}\nensembles: {a: {members: [a, b]}}", "a model has this name already"),
        ("failure: {sets: [cw]}", "no set is called 'cw'"),
        ("failure: {region: RC}", "RC is not among evaluation.regions"),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere_are_named(text, expected):
    assert expected in problems(DEMO + text)


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
    from glioflow.config_docs import fill

    page = CONFIG_DIR / "README.md"
    assert page.read_text(encoding="utf-8") == fill(page.read_text(encoding="utf-8"))
