"""No item of a checklist is claimed that no file shows."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_write_report import EXTERNAL, Workspace

from glioflow.files import read_json, read_table, write_json, write_table
from glioflow.report.checklists import AUTHORS, checklist_section, holds
from glioflow.report.source import Source
from glioflow.study.checklists import CHECKLISTS, Evidence, checklists

ALL = [(name, number) for name in CHECKLISTS for number in checklists()[name].items]
CLAIMED = [(name, number) for name, number in ALL if checklists()[name].items[number].evidence]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study whose files answer all that files can: its data set is a public one, its features were varied."""
    workspace = Workspace(tmp_path_factory.mktemp("full"), EXTERNAL)
    for pair in workspace.pairs:
        if pair["failure"]:
            table = pd.DataFrame({"feature": ["original_shape_Constant"], "icc": [0.9], "stable": [True]})
            write_table(workspace.root / "failure" / pair["model"] / pair["set"] / "stability.csv", table)
    write_table(workspace.root / "scores" / "comparison.csv", pd.DataFrame({"cohort": ["demo"], "p_holm": [0.5]}))
    return workspace


def source_of(workspace: Workspace, root: Path | None = None, **failure: Any) -> Source:
    """Return what the report reads of a study whose cohorts are a public data set's."""
    params = workspace.params()
    study = params["study"]
    for cohort in study["cohorts"].values():
        cohort["dataset"] = "brats2021"
    study["failure"] |= {"stability": True, **failure}
    return Source(study, params["config_file"], root or workspace.root, params["pairs"], params["trained"])


def is_shown(source: Source, name: str, number: int) -> bool:
    return all(holds(source, evidence) for evidence in checklists()[name].items[number].evidence)


def settings(name: str, number: int) -> dict[str, Any]:
    """Return the settings under which an item can be answered."""
    keys = [each for each in checklists()[name].items[number].evidence if each.key and each.equals is not None]
    return {str(each.key).removeprefix("failure."): each.equals for each in keys}


def test_the_lists_are_whole() -> None:
    assert list(checklists()["metrics"].items) == list(range(1, 31))
    assert list(checklists()["clear"].items) == list(range(1, 59))
    weights = [item.weight for item in checklists()["metrics"].items.values()]
    assert sum(weights) == pytest.approx(1.0, abs=1e-9)


def prepared(full: Workspace, tmp_path: Path, mask: str = "truth") -> Path:
    root = tmp_path / "results"
    shutil.copytree(full.root, root)
    if mask != "truth":
        for path in root.glob("failure/*/*/radiomics.csv"):
            write_table(path, read_table(path).assign(mask=mask))
    return root


@pytest.mark.parametrize(("name", "number"), CLAIMED)
def test_each_item_is_answered_by_its_files(full: Workspace, tmp_path: Path, name: str, number: int) -> None:
    told = settings(name, number)
    root = prepared(full, tmp_path, told.get("mask", "truth")) if told else full.root
    assert is_shown(source_of(full, root, **told), name, number)


PIECES = [(name, number, place) for name, number in CLAIMED for place in range(len(checklists()[name].items[number].evidence))]


@pytest.mark.parametrize(("name", "number", "place"), PIECES)
def test_no_item_is_answered_where_a_part_of_its_evidence_is_lacking(
    full: Workspace, tmp_path: Path, name: str, number: int, place: int
) -> None:
    evidence, told = checklists()[name].items[number].evidence[place], settings(name, number)
    root = prepared(full, tmp_path, told.get("mask", "truth"))
    assert is_shown(source_of(full, root, **told), name, number)
    for source in lacking(full, root, evidence, told):
        assert not is_shown(source, name, number)


def lacking(full: Workspace, root: Path, evidence: Evidence, told: dict[str, Any]) -> Iterator[Source]:
    """Yield the study without what evidence asks for, in each way in which it can lack."""
    if evidence.key:
        key = evidence.key.removeprefix("failure.")
        yield source_of(full, root, **told | {key: "parameters.yaml" if evidence.empty else None})
    elif evidence.table:
        pattern = evidence.table.replace("{cohort}", "*").replace("{scored}", "*/*").replace("{analysed}", "*/*")
        for path in sorted(root.glob(pattern)) if "{cohort}" not in evidence.table else ():
            table = read_table(path)
            columns = [column for column in (evidence.columns or [str(evidence.column)]) if column in table]
            write_table(path, table.assign(**dict.fromkeys(columns, np.nan)))
            yield source_of(full, root, **told)
            write_table(path, table.drop(columns=columns))
            yield source_of(full, root, **told)
            path.unlink()
            yield source_of(full, root, **told)
            write_table(path, table)
        if "{cohort}" in evidence.table:
            for path in root.glob(pattern):
                table = read_table(path)
                columns = [column for column in (evidence.columns or [str(evidence.column)]) if column in table]
                write_table(path, table.iloc[:0] if evidence.where else table.assign(**dict.fromkeys(columns, np.nan)))
            yield source_of(full, root, **told)
    elif evidence.fold:
        for path in sorted(root.glob("models/*/fold_*/manifest.json")):
            manifest = read_json(path)
            write_json(path, {key: value for key, value in manifest.items() if key != evidence.fold.partition(".")[0]})
            yield source_of(full, root, **told)
            write_json(path, manifest)
    elif evidence.sets:
        source = source_of(full, root, **told)
        source.pairs = [pair for pair in source.pairs if (pair.set == "test") != (evidence.sets == "test")]
        yield source
    elif evidence.dataset:
        source = source_of(full, root, **told)
        first = next(iter(source.study["cohorts"].values()))
        first["dataset"] = "folders"  # of the authors' own
        yield source
    else:
        assert evidence.package


def test_a_site_for_all_is_not_more_than_one_centre(full: Workspace, tmp_path: Path) -> None:
    root = prepared(full, tmp_path)
    for path in root.glob("cohorts/*/manifest.csv"):
        write_table(path, read_table(path).assign(site="01"))
    assert not is_shown(source_of(full, root), "metrics", 4)


def test_the_page_says_what_is_for_the_authors_and_claims_no_total(full: Workspace) -> None:
    metrics, clear = checklist_section(source_of(full))
    assert (metrics["answered"], metrics["total"], clear["total"]) == (15, "30 items", "58 items")
    rows = {row[0].text: row for row in metrics["table"].rows}
    assert rows["2"][3].text.startswith(AUTHORS) and rows["2"][4].text == ""
    assert (rows["21"][3].link, rows["21"][4].text) == (
        "scores",
        "scores/net/cv_summary.csv (mean_ci_low); scores/net/cv_summary.csv (sd)",
    )


def test_a_study_without_radiomics_has_no_list_for_it(full: Workspace) -> None:
    source = source_of(full)
    source.pairs = []
    assert checklist_section(source) == []
