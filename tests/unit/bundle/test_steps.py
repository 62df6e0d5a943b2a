"""The jobs of a study, found by the records beside its outputs."""

from pathlib import Path
from typing import Any

import pytest

from glioflow.bundle.steps import collect_steps, keep_what_images_need
from glioflow.console import UserError
from glioflow.files import write_json
from glioflow.job_records import record_path

FORMER = "/home/jane/old/results"


def made(results: Path, rule: str, output: str, inputs: list[str], **job: Any) -> str:
    """Write an output and its record, as a run in another folder left them; return its path there."""
    path = results / output
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(output)
    there = f"{FORMER}/{output}"
    times = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:01+00:00"}
    told = {"rule": rule, "wildcards": [["set", "cv"]], "input": [["of", inputs]], "output": [[None, there]], "log": []}
    job = {**told, "params": [["root", f"{FORMER}/models"], ["n", 3]], **times, **job}
    write_json(record_path(path), {"output": there, "params": [], "inputs": {}, "files": {}, "job": job})
    return there


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    masks = made(root, "predict_cases", "predictions/m/cv/predictions.csv", ["/data/a.nii"])
    shard = made(root, "score_cases", "scores/m/cv_shards/0.csv", [masks])
    table = made(root, "summarise_scores", "scores/m/cv.csv", [shard])
    extremes = made(root, "select_extremes", "failure/m/cv/extremes.csv", [table])
    features = made(root, "extract_radiomics", "failure/m/cv/radiomics_shards/0.csv", [extremes, masks])
    made(root, "associate_features", "failure/m/cv/associations.csv", [extremes, features])
    made(root, "other", "scores/unused.csv", [])
    return root


def names(results: Path) -> list[str]:
    return [step.rule for step in collect_steps(results, [str(results / "failure/m/cv/associations.csv")])]


def test_makers_come_first_and_what_nothing_needs_is_no_part(results):
    order = names(results)
    assert set(order) == {
        *("predict_cases", "score_cases", "summarise_scores", "select_extremes", "extract_radiomics", "associate_features"),
    }
    assert (
        order.index("predict_cases")
        < order.index("score_cases")
        < order.index("select_extremes")
        < order.index("extract_radiomics")
    )
    assert order[-1] == "associate_features"


def test_paths_are_below_results_wherever_the_folder_was(results):
    (step, *_) = [step for step in collect_steps(results, [str(results / "scores/m/cv.csv")]) if step.rule == "score_cases"]
    assert step.inputs == ["results/predictions/m/cv/predictions.csv"] and step.outputs == ["results/scores/m/cv_shards/0.csv"]
    assert step.params == [["root", "results/models"], ["n", 3]]


def test_what_follows_from_tables_is_told_from_what_reads_images(results):
    steps = collect_steps(results, [str(results / "failure/m/cv/associations.csv")])
    assert [step.rule for step in steps if not step.reads_images] == [
        "summarise_scores",
        "select_extremes",
        "associate_features",
    ]
    assert [step.rule for step in keep_what_images_need(steps) if step.kept] == ["select_extremes"]


def test_a_record_of_an_older_glioflow_is_told(results):
    path = results / "scores/m/cv_shards/0.csv"
    write_json(record_path(path), {"output": f"{FORMER}/scores/m/cv_shards/0.csv", "params": [], "inputs": {}})
    with pytest.raises(UserError, match=r"cv_shards/0\.csv: its record does not name its job"):
        names(results)
