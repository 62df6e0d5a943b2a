"""The page shows published values where the study names some, and has no such section elsewhere."""

from pathlib import Path
from typing import Any

import pytest
from test_write_report import CONFIG, Workspace

from compare_published import compare_values
from glioflow.console import UserError
from glioflow.files import write_table

VALUE: dict[str, Any] = {
    "model": "net", "set": "cv", "metric": "dice", "region": "WT", "statistic": "mean", "value": 0.5, "source": "doi:10.1/x",
}  # fmt: skip


@pytest.fixture
def published(tmp_path: Path) -> Workspace:
    values = [VALUE, {**VALUE, "metric": "hd95_mm", "value": 60.5, "statistic": "median", "measured_on": "test"}]
    workspace = Workspace(tmp_path / "results", {**CONFIG, "published": values})
    told = [value.model_dump(mode="json") for value in workspace.study.published]
    summaries = {"net/cv": workspace.table("scores", "net", "cv_summary.csv")}
    write_table(workspace.root / "scores/published.csv", compare_values(told, summaries))
    return workspace


def test_each_value_has_ours_with_its_interval_beside_it(published: Workspace) -> None:
    page = published.page()
    header, dice, hd95 = page.table("Published values")
    assert header[2:7] == ["Value", "Ours [95\u00a0%\u00a0CI]", "Cases", "Published", "Difference"]
    ours = published.summary("cv")["WT", "dice"]
    interval = f"[{ours['mean_ci_low']:.3f}, {ours['mean_ci_high']:.3f}]"
    difference = f"+{ours['mean'] - 0.5:.3f}"
    assert dice[:4] == ["net", "cv", "Dice WT, mean", f"{ours['mean']:.3f} {interval}"]
    assert dice[4:] == ["9", "0.5", difference, "", "doi:10.1/x"]
    assert len(hd95) == 8  # the model's name stands once for both rows
    assert (hd95[1], hd95[4]) == ("HD95 (mm) WT, median", "60.5")
    assert hd95[5].startswith("−")
    assert hd95[6] == "published: a test set; here: out-of-fold predictions of training cases"
    assert "#published" in page.attributes("href")


def test_a_study_without_such_values_has_no_such_section(tmp_path: Path) -> None:
    page = Workspace(tmp_path / "results").page()
    assert "Published values" not in page.text
    assert "published" not in page.attributes("id")


def test_the_table_is_asked_for_where_it_is_missing(published: Workspace) -> None:
    (published.root / "scores/published.csv").unlink()
    with pytest.raises(UserError, match=r"published\.csv is missing, and the report needs it"):
        published.page()
