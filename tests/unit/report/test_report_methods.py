"""The methods to paste have the study's own numbers, and the table of steps what its jobs took."""

from collections.abc import Callable

import pandas as pd
import pytest
from test_write_report import CONFIG, EXTERNAL, Workspace, given_study

from glioflow.files import read_json, write_json
from glioflow.report import methods, provenance
from glioflow.report.checkout import Commit
from glioflow.report.methods import methods_section
from glioflow.report.provenance import checkpoint_table
from glioflow.report.references import bibliography, known_references


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict], Workspace]:
    return lambda config: Workspace(tmp_path_factory.mktemp("made"), config)


def pasted(workspace: Workspace) -> str:
    return " ".join(methods_section(workspace.source())["paragraphs"])


def test_the_paragraphs_have_cohort_sizes_sequences_folds_epochs_and_versions_as_of_training(trained: Workspace) -> None:
    text = pasted(trained)
    assert "The cohort demo has 12 cases, one a patient: 9 for training and 3 held out." in text
    assert "sequences: FLAIR" in text
    assert "nnU-Net 2.8.1 and PyTorch of no record when it was trained" in text
    assert "trained in 2 folds for 3 epochs of 250 iterations" in text and "on cpu" in text
    assert "9 of net · cv and 3 of net · test" in text
    assert "3 worst cases and 3 best of net · cv" in text
    assert "10,000 resamples of the patients" in text and "(Isensee et al. 2021" in text


def test_two_versions_of_a_training_are_both_told(make: Callable[[dict], Workspace]) -> None:
    workspace = make(EXTERNAL)
    path = workspace.root / "models/net/fold_1/manifest.json"
    manifest = read_json(path)
    write_json(path, {**manifest, "versions": {"nnunetv2": "2.7.0", "torch": "2.1"}, "gpu": "NVIDIA A"})
    text = pasted(workspace)
    assert "nnU-Net 2.7.0 and 2.8.1 and PyTorch 2.1 and of no record" in text
    assert "on NVIDIA A and cpu" in text


def test_a_fold_tells_its_gpu_or_its_processors_where_its_training_moved(make: Callable[[dict], Workspace]) -> None:
    workspace = make(CONFIG)
    one, other = {"name": "CPU A", "cores": 8}, {"name": "CPU B", "cores": 1}
    conditions = [{"code": None, "device": "cpu", "versions": {}, "processor": each} for each in (one, other, one)]
    conditions[1]["precision"] = "bfloat16"
    for fold, told in enumerate(({"trained_with": conditions}, {"gpu": "NVIDIA A", "device": "cuda"})):
        path = workspace.root / f"models/net/fold_{fold}/manifest.json"
        write_json(path, {**read_json(path), **told})
    assert "on NVIDIA A and the processor CPU A (8 cores), then CPU B (1 core, in bfloat16)." in pasted(workspace)
    table = checkpoint_table(workspace.source())
    assert table is not None
    assert [[cell.text for cell in row[2:4]] for row in table.rows] == [
        ["CPU A (8 cores), then CPU B (1 core, in bfloat16)", "–"],
        ["not recorded", "NVIDIA A"],
    ]


def test_a_fold_trained_before_processors_were_recorded_says_so(trained: Workspace) -> None:
    assert "on cpu (processor not recorded)." in pasted(trained)


def test_the_commit_is_in_the_paragraph_on_the_software_and_the_first_version(trained: Workspace, monkeypatch) -> None:
    changed = Commit("0" * 40, True)
    for commit, words in ((Commit("0a1b" * 10, False), "commit 0a1b0a1b0a1b"), (changed, "commit 000000000000, changed")):
        for module in (methods, provenance):
            monkeypatch.setattr(module, "read_commit", lambda commit=commit: commit)
        assert f"run by glioflow ({words}), a workflow of Snakemake" in pasted(trained)
        first = provenance.versions_table(trained.source()).rows[0]
        assert [(cell.text, cell.title) for cell in first] == [("glioflow", ""), (words, commit.commit), ("", "")]
    for module in (methods, provenance):
        monkeypatch.setattr(module, "read_commit", lambda: None)
    assert "run by glioflow, a workflow of Snakemake" in pasted(trained)
    assert provenance.versions_table(trained.source()).rows[0][0].text == "python"


def test_a_study_without_training_tells_of_none(make: Callable[[dict], Workspace], tmp_path) -> None:
    workspace = make(given_study(tmp_path))
    text = pasted(workspace)
    assert "trained in" not in text and "theirs: precomputed predictions, not trained here." in text
    assert "@article{nnunet" not in bibliography(workspace.source())


def test_a_study_without_failure_sets_cites_no_radiomics(make: Callable[[dict], Workspace], tmp_path) -> None:
    source = make(given_study(tmp_path, sets=[])).source()
    assert "pyradiomics" not in " ".join(methods_section(source)["paragraphs"]) + bibliography(source)


def test_what_the_paragraphs_cite_is_in_the_bibliography(trained: Workspace) -> None:
    text, entries = pasted(trained), bibliography(trained.source())
    named = [key for key, entry in known_references().items() if entry.short in text]
    assert {"nnunet", "bootstrap", "pyradiomics", "cohen", "snakemake"} <= set(named)
    # Two of one author and year would be told apart by their keys alone.
    assert [key for key in named if f"{{{key}," not in entries and key not in ("residual_encoder",)] == []
    assert "github.com/Project-MONAI/MONAI" in entries


def test_the_steps_have_their_jobs_times_and_memory_and_a_row_of_all(trained: Workspace) -> None:
    section = methods_section(trained.source())
    cells = [[cell.text for cell in row] for row in section["jobs"].rows]
    assert cells == [
        ["split_cohort", "1", "0:00:03", "0:00:03", "0.13"],
        ["train_fold", "2", "2:01:40", "1:01:40", "6.44"],
        ["score_cases", "1", "0:00:08", "0:00:08", "–"],
        ["all", "4", "2:01:51", "1:01:40", "6.44"],
    ]
    assert section["unmeasured"] == 1


def test_the_plan_tells_who_reads_whom(trained: Workspace) -> None:
    alt = methods_section(trained.source())["plan"].alt
    assert "train_fold reads split_cohort; score_cases reads split_cohort and train_fold" in alt


def test_memory_that_nobody_measured_is_no_zero(trained: Workspace) -> None:
    table = trained.table("report", "jobs.csv")
    assert pd.isna(table.loc[2, "peak_memory_mb"])
