"""The report's section on volumes and shape: its sentences, tables and pictures, and what it says where nothing can be told."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_write_report import CASES, CONFIG, Page, Workspace

from compare_shapes import compare_shapes
from compare_volumes import compare_volumes
from evaluate_quality import evaluation_table
from follow_volumes import follow_volumes
from glioflow.cohorts.covariate_values import read_covariates
from glioflow.files import write_table
from glioflow.quality.measures import MEASURES, vasari_class
from glioflow.quality.prediction import FEATURES as PREDICTION_FEATURES
from glioflow.quality.responses import Thresholds
from glioflow.quality.sessions import order_sessions
from glioflow.quality.shapes import FEATURES
from glioflow.report.quality import quality_sentence
from predict_quality import quality_table

NAMES = (("pearson_r", "r"), ("ccc", "ccc"))
UNSEEN = "not applicable: the truth shows WT only"


class Measured(Workspace):
    """A workspace whose set ``cv`` has volumes and shapes; ``change`` is made to volumes.csv before others are made of it."""

    def __init__(self, root: Path, change: Any = None, patients: dict[str, str] | None = None, **quality: Any) -> None:
        super().__init__(root, {**CONFIG, "quality": {"sets": ["cv"], **quality}})
        self.patients = {case: (patients or {}).get(case, case) for case in CASES}
        self.folder = root / "quality/net/cv"
        volumes = self.volumes(self.study.quality.session_by)
        self.write_quality(change(volumes) if change else volumes)

    def volumes(self, session_by: str | None) -> pd.DataFrame:
        rng, rows = np.random.default_rng(6), []
        covariates = read_covariates(self.root / "cohorts/demo/manifest.csv")
        times = covariates[session_by].to_dict() if session_by in covariates else None
        sessions = order_sessions(self.patients, times, session_by or "")
        for case, patient in self.patients.items():
            parts = {"ET": rng.uniform(2, 20), "NCR": rng.uniform(1, 10), "ED": rng.uniform(10, 60), "RC": 0.0}
            noisy = {name: size * rng.uniform(0.8, 1.2) for name, size in parts.items()}
            masks = {
                who: {**own, "TC": own["ET"] + own["NCR"], "WT": own["ET"] + own["NCR"] + own["ED"]}
                for who, own in (("truth", parts), ("prediction", noisy))
            }
            for measure in MEASURES:
                row = {"patient_id": patient, "case_id": case, "fold": 0, **sessions.loc[case]}
                row |= {"measure": measure.name, "unit": measure.unit, "note": None}
                for who, own in masks.items():
                    row[who] = measure.value(own)
                    row[f"class_{who}"] = vasari_class(row[who]) if measure.whole else None
                rows.append(row)
        return pd.DataFrame(rows)

    def write_quality(self, volumes: pd.DataFrame) -> None:
        spec = self.study.quality
        thresholds = Thresholds(spec.response_increase, spec.response_decrease, spec.measurable_ml)
        sessions, responses = follow_volumes(volumes, spec.follow, thresholds)
        rng = np.random.default_rng(8)
        shapes = pd.DataFrame(
            [
                {"patient_id": self.patients[case], "case_id": case, "mask": mask, "region": "WT", "note": None}
                | dict(zip(FEATURES, place / 20 + rng.uniform(0, 0.01, 3), strict=True))
                for mask in ("truth", "prediction")
                for place, case in enumerate(CASES)
            ]
        )
        covariates = read_covariates(self.root / "cohorts/demo/manifest.csv").assign(subtype=["x"] * 6 + ["y"] * 6)
        blank = dict.fromkeys(("fold_dice", *PREDICTION_FEATURES, "note"))
        rows = [
            {"case_id": case, "patient_id": self.patients[case], "fold": 0, "region": region, **blank}
            for case in CASES
            for region in ("WT", "TC", "ET")
        ]
        quality = quality_table(pd.DataFrame(rows), None, None, within=True)
        tables = {
            "quality": quality,
            "quality_evaluation": evaluation_table(quality, self.table("scores", "net", "cv.csv")),
            "volumes": volumes, "agreement": compare_volumes(volumes), "sessions": sessions, "responses": responses,
            "shapes": shapes, "shape_covariates": compare_shapes(shapes, covariates.astype("string")),
        }  # fmt: skip
        for name, table in tables.items():
            write_table(self.folder / f"{name}.csv", table)

    def agreement(self, measure: str) -> dict[str, Any]:
        table = self.table("quality", "net", "cv", "agreement.csv")
        (row,) = table[table["measure"] == measure].to_dict("records")
        return row


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return Measured(tmp_path_factory.mktemp("quality"))


@pytest.fixture(scope="module")
def page(measured: Measured) -> Page:
    return measured.page()


def words(page: Page) -> str:
    return " ".join(page.text.replace("\u00a0", " ").split())


def test_the_summary_and_the_section_tell_how_far_volumes_agree_and_of_how_many(measured: Measured, page: Page):
    ratio, whole = measured.agreement("ET/WT"), measured.agreement("WT")
    r, ccc = (f"{ratio[name]:.2f} (95 % CI {ratio[f'{e}_ci_low']:.2f} to {ratio[f'{e}_ci_high']:.2f})" for name, e in NAMES)
    said = f"r² = {ratio['r2']:.2f}, r = {r}, Lin's concordance {ccc}, n = 12 patients."
    assert words(page).count(said) == 2
    direction = "larger" if whole["bias"] > 0 else "smaller"
    assert f"Predicted WT is on average {abs(whole['bias']):.3g} ml {direction} than the true one" in words(page)


def test_the_table_has_every_measure_that_was_compared(page: Page):
    rows = page.table("Volumes and proportions of net · cv, predicted")
    assert [row[0] for row in rows[1:]] == [measure.name for measure in MEASURES]
    assert rows[0][:3] == ["Measure", "Unit", "n"] and "Patients" not in rows[0]
    assert len(page.table("Volumes and proportions of every case of net · cv")) == 1 + len(CASES)


def test_a_covariate_that_shape_goes_along_with_is_named_with_its_test_q_and_n(measured: Measured, page: Page):
    assert "In truth masks the shape of WT goes along with covariates: subtype × " in words(page)
    assert "subtype" in [row[0] for row in page.table("Shape and covariates of net · cv")]
    assert "Not tested: scanner (one value to test: Aera); trial_id (an identifier)." in words(page)
    assert [alt for alt in page.attributes("alt") if alt.startswith("Heat map of p")]


def test_one_session_a_patient_is_a_sentence(page: Page):
    assert "Nothing can be said of volumes over time: every patient has one session in this set." in words(page)
    assert not [alt for alt in page.attributes("alt") if alt.startswith("Volumes of net · cv over")]


TWO = {CASES[place]: f"patient_{place // 2}" for place in range(8)}


def test_sessions_without_a_date_are_ordered_by_id_and_the_page_says_so(tmp_path: Path):
    workspace = Measured(tmp_path, patients=TWO)
    page = workspace.page()
    order = "The order of the sessions is that of the case ids, as no covariate that dates them is named."
    assert f"4 patients have several sessions here. {order}" in words(page)
    row = workspace.table("quality", "net", "cv", "responses.csv").to_dict("records")[0]
    assert (
        f"By the volume of ET the prediction puts {row['flipped']} of 4 follow-up sessions of 4 patients into another"
        in words(page)
    )
    table = page.table("Response category by the volume of ET, net · cv")
    assert sum(int(cell) for row in table[1:] for cell in row[1:]) == 4
    assert len(page.table("Sessions of net · cv")) == 1 + 2 * 8
    assert [alt for alt in page.attributes("alt") if alt.startswith("Volumes of net · cv over")]
    short = "Follow-up sessions of 4 patients whose response category is another one in the prediction"
    assert f"{short}: {row['flipped']} of 4 by ET" in words(page)


def test_sessions_with_a_date_are_ordered_by_it_and_others_are_told(tmp_path: Path):
    workspace = Measured(tmp_path, patients={**TWO, "case_09": "patient_0"}, session_by="age_years")
    said = "The order of the sessions is by age_years, and by the case ids in 1 patient where that is missing."
    # patient_0 has two sessions of one age.
    assert said in words(workspace.page())


def test_measures_that_cannot_be_shown_are_named_with_the_reason_and_no_number(tmp_path: Path):
    def only_whole(volumes: pd.DataFrame) -> pd.DataFrame:
        other = volumes["measure"] != "WT"
        values = {who: volumes[who].mask(other) for who in ("truth", "prediction")}
        return volumes.assign(**values, note=volumes["note"].mask(other, UNSEEN))

    workspace = Measured(tmp_path, only_whole)
    page = workspace.page()
    assert f"The enhancing share of the tumour (ET/WT) cannot be compared: {UNSEEN}." in words(page)
    assert f"Not compared: ET, NCR, ED, TC, RC, ET/WT, NCR/WT and ED/WT ({UNSEEN})." in words(page)
    assert [row[0] for row in page.table("Volumes and proportions of net · cv, predicted")[1:]] == ["WT"]


def test_a_region_that_is_never_predicted_is_said(tmp_path: Path):
    workspace = Measured(tmp_path, lambda t: t.assign(prediction=t["prediction"].mask(t["measure"] == "ET", 0.0)))
    assert "ET is never predicted, though the truth has some." in words(workspace.page())


def test_an_unknown_size_of_voxels_is_said_where_ml_stand(tmp_path: Path):
    workspace = Measured(tmp_path)
    problem = {"case_id": None, "file": "c", "severity": "warning", "problem": "spacing_unknown", "found": "x", "expected": "y"}
    workspace.edit(lambda t: pd.DataFrame([problem], columns=t.columns), "cohorts", "demo", "verification.csv")
    assert "The files tell no size of a voxel: one ml stands for a thousand voxels" in words(workspace.page())


def test_what_the_study_does_not_ask_for_is_not_there(tmp_path: Path):
    workspace = Measured(tmp_path, follow=[], shape=None)
    for name in ("sessions", "responses", "shapes", "shape_covariates"):
        (workspace.folder / f"{name}.csv").unlink()
    page = workspace.page()
    assert "Over time" not in page.text and "Heat map" not in " ".join(page.attributes("alt"))
    (pair,) = [pair for pair in workspace.source().pairs if pair.set == "cv"]
    assert "response category" not in quality_sentence(workspace.source(), pair)["text"]


def test_without_measured_sets_there_is_no_section(tmp_path: Path):
    page = Workspace(tmp_path, {**CONFIG, "quality": {"sets": []}}).page()
    assert "Volumes and shape" not in page.text


def test_text_from_outside_cannot_become_html(tmp_path: Path):
    evil = "<script>alert(1)</script>"

    def cavity(volumes: pd.DataFrame) -> pd.DataFrame:
        chosen = volumes["measure"] == "RC"
        return volumes.assign(note=volumes["note"].mask(chosen, evil), truth=volumes["truth"].mask(chosen))

    workspace = Measured(tmp_path, cavity)
    assert evil not in workspace.html() and evil in workspace.page().text
