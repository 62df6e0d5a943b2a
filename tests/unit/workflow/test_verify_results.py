"""Every file of which a hash is recorded is read, and what was changed by hand is named with what to delete."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import verify_results
from glioflow.case_cache import CaseCache
from glioflow.cohorts.manifests import write_manifest
from glioflow.console import Console, UserError
from glioflow.files import read_table, sha256_file, write_table
from glioflow.job_records import record_path, write_records
from glioflow.models.fold_state import write_fold
from glioflow.models.predictions import hash_probabilities, write_predictions
from glioflow.models.uncertainty import record_rows
from glioflow.models.uncertainty import write_records as write_records_of_masks


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished study in ``results``, the data beside it; its files hold words in place of images and weights."""
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    image, label = written(tmp_path / "data/a_flair.nii.gz", "image"), written(tmp_path / "data/a_seg.nii.gz", "label")
    row = {"case_id": "a", "patient_id": "a", "flair": str(image), "flair_sha256": sha256_file(image), "label": str(label)}
    write_manifest(results / "cohorts/c/manifest.csv", pd.DataFrame([row]))
    CaseCache(results / "cache/verify_cohort/c.jsonl").put("a", "key", {}, [label])
    validation = written(results / "models/m/nnunet/results/fold_0/validation/a.nii.gz", "mask")
    mask = results / "predictions/m/cv/a.nii.gz"
    mask.parent.mkdir(parents=True)
    mask.hardlink_to(validation)
    masks = {"case_id": "a", "patient_id": "a", "fold": 0, "tta": True, "prediction": str(mask), "sha256": sha256_file(mask)}
    write_predictions(results / "predictions/m/cv/predictions.csv", pd.DataFrame([masks]))
    entropy = sha256_file(written(results / "predictions/m/cv/entropy/a.nii.gz", "map"))
    write_records_of_masks(
        results / "predictions/m/cv/uncertainty.csv", record_rows("a", True, {"networks": 1, "regions": {"WT": {}}}, entropy)
    )
    checkpoint = written(results / "models/m/nnunet/results/fold_0/checkpoint_final.pth", "weights")
    fold = {
        "fold": 0,
        "checkpoint": {"path": str(checkpoint), "sha256": sha256_file(checkpoint)},
        "validation": {"folder": str(validation.parent)},
    }
    write_fold(results / "models/m/fold_0/manifest.json", fold)
    kept = written(results / "models/m/nnunet/results/superseded/fold_0_abc/checkpoint_final.pth", "former")
    written(kept.with_name("glioflow.json"), json.dumps({"training": {"sha256": sha256_file(kept)}}))
    folder = results / "predictions/m/test/probabilities"
    for ending in (".npz", ".pkl"):
        written(folder / f"b{ending}", f"probabilities {ending}")
    table = pd.DataFrame([{"case_id": "b", "tta": True, "sha256": hash_probabilities(folder, "b")}])
    write_table(folder.parent / "probabilities.csv", table)
    finish(results, "scores/m/cv.csv", "dice\n0.5\n", ["results/predictions/m/cv/predictions.csv", "grades.csv"])
    finish(results, "report/index.html", "<html>", ["results/scores/m/cv.csv"])
    finish(results, "cohorts/c/phantom.csv", "planted\n", [], made_in="cohorts/c/phantoms")
    return results


def finish(results: Path, name: str, text: str, inputs: list[str], made_in: str | None = None) -> None:
    """Write an output and its record, as a job does; with ``made_in``, a file in that folder as well."""
    for path in inputs:
        if not Path(path).exists():
            written(Path(path), "grade\n")
    output = written(results / name, text)
    params = SimpleNamespace(made_in=str(written(results / made_in / "p.nii.gz", "phantom").parent)) if made_in else None
    made = {"input": inputs, "output": [str(output)], "params": Params(params), "log": []}
    job = SimpleNamespace(**made, rule="r", wildcards=[], threads=1, resources={})
    write_records(job, datetime.now(UTC))


class Params(list[str]):
    """A job's params, of which ``made_in`` may be one."""

    def __init__(self, named: SimpleNamespace | None) -> None:
        super().__init__(vars(named).values() if named else [])
        self.__dict__.update(vars(named) if named else {})


def verify(results: Path, threads: int = 1) -> str:
    job = SimpleNamespace(params=SimpleNamespace(results=str(results), table=str(results / "verified.csv")), threads=threads)
    return verify_results.main(job, Console(results / "logs/verify_results.log"))


def changed(results: Path) -> dict[str, tuple[str, str]]:
    """Return what is not as it was: file to what was found and what to delete."""
    with pytest.raises(UserError):
        verify(results, threads=2)
    return {row["file"]: (row["found"], row["delete"]) for row in read_table(results / "verified.csv").to_dict("records")}


def test_a_finished_study_is_as_it_was(results: Path) -> None:
    assert verify(results) == "13 files as they were finished; 4 files without a recorded hash"
    assert len(read_table(results / "verified.csv")) == 0
    said = (results / "logs/verify_results.log").read_text()
    for kind in verify_results.KINDS:
        assert kind in said
    assert "results/models/m/fold_0/manifest.json" in said, "no hash of it is kept here: its job made no record"


BRING_BACK = "nothing: bring the file back"
# What is done to which file, what is found, and what is to be deleted.
DAMAGE = {
    "flipped report": ("results/report/index.html", "<HTML>", "other content", "results/report/index.html"),
    "cut-off scores": ("results/scores/m/cv.csv", "dice\n", "5 bytes instead of 9", "results/scores/m/cv.csv"),
    "other image": ("{data}/a_flair.nii.gz", "other", "other content", BRING_BACK),
    "other label": ("{data}/a_seg.nii.gz", "other", "other content", BRING_BACK),
    "other grades": ("grades.csv", "grade\n4\n", "other content", "nothing: bring the file back, or run again"),
    "cut-off mask": (
        "results/predictions/m/cv/a.nii.gz",
        "",
        "empty",
        "results/predictions/m/cv/a.nii.gz results/predictions/m/cv/predictions.csv "
        "results/models/m/nnunet/results/fold_0/validation/a.nii.gz results/models/m/fold_0/manifest.json",
    ),
    "other map": (
        "results/predictions/m/cv/entropy/a.nii.gz",
        "other",
        "other content",
        "results/predictions/m/cv/entropy/a.nii.gz results/predictions/m/cv/a.nii.gz results/predictions/m/cv/predictions.csv "
        "results/models/m/nnunet/results/fold_0/validation/a.nii.gz results/models/m/fold_0/manifest.json",
    ),
    "other weights": (
        "results/models/m/nnunet/results/fold_0/checkpoint_final.pth",
        "w",
        "other content",
        "results/models/m/nnunet/results/fold_0 results/models/m/fold_0/manifest.json (bring it back",
    ),
    "other former weights": (
        "results/models/m/nnunet/results/superseded/fold_0_abc/checkpoint_final.pth",
        "w",
        "other content",
        "results/models/m/nnunet/results/superseded/fold_0_abc (kept of a former training)",
    ),
    "other probabilities": (
        "results/predictions/m/test/probabilities/b.npz",
        "p",
        "other content",
        "results/predictions/m/test/probabilities/b.npz results/predictions/m/test/probabilities.csv",
    ),
    "cut-off phantom": (
        "results/cohorts/c/phantoms/p.nii.gz",
        "ph",
        "2 bytes instead of 7",
        "results/cohorts/c/phantom.csv",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_was_changed_is_named_alone_with_what_to_delete(results: Path, name: str) -> None:
    file, text, found, delete = (part.format(data=Path("data").absolute()) for part in DAMAGE[name])
    Path(file).write_text(text)
    wrong = changed(results)
    assert list(wrong) == [file]
    assert wrong[file][0] == found
    assert wrong[file][1].startswith(delete)


def test_a_file_that_is_gone_is_made_by_the_next_run(results: Path) -> None:
    (results / "report/index.html").unlink()
    assert changed(results) == {"results/report/index.html": ("gone", "nothing: run again")}


def test_probabilities_that_were_freed_are_not_missed(results: Path) -> None:
    for ending in (".npz", ".pkl"):
        (results / f"predictions/m/test/probabilities/b{ending}").unlink()
    assert verify(results).startswith("12 files as they were finished")


def test_a_map_that_was_deleted_is_not_missed(results: Path) -> None:
    (results / "predictions/m/cv/entropy/a.nii.gz").unlink()
    assert verify(results).startswith("12 files as they were finished")


def test_an_output_of_a_record_without_its_hash_is_known_by_those_who_read_it(results: Path) -> None:
    record = record_path(results / "scores/m/cv.csv")
    content = json.loads(record.read_text())
    del content["sha256"], content["bytes"]
    record.write_text(json.dumps(content))
    assert verify(results).startswith("13 files as they were finished")
    (results / "scores/m/cv.csv").write_text("dice\n0.6\n")
    assert changed(results) == {"results/scores/m/cv.csv": ("other content", "results/scores/m/cv.csv")}


def test_a_moved_folder_is_known_as_well(results: Path) -> None:
    results.rename("elsewhere")
    assert verify(Path("elsewhere")).startswith("13 files as they were finished")


def test_a_table_that_cannot_be_read_is_named_and_the_others_are_read(results: Path) -> None:
    (results / "predictions/m/cv/predictions.csv").write_text('case_id,"\n')
    with pytest.raises(UserError, match=r"predictions\.csv: the file is damaged") as caught:
        verify(results)
    assert "results/predictions/m/cv/predictions.csv: other content" in str(caught.value)


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no result with a recorded hash"):
        verify(tmp_path)


def test_the_message_shows_twenty_files_and_the_table_all(results: Path) -> None:
    for number in range(25):
        finish(results, f"scores/m/{number}.csv", "dice\n", [])
        (results / f"scores/m/{number}.csv").write_text("")
    with pytest.raises(UserError, match="and 5 more"):
        verify(results)
    assert len(read_table(results / "verified.csv")) == 25
