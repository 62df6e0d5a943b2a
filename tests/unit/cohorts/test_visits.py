"""Ids of patients that differ only in a visit: one patient may be in training and test."""

import pandas as pd
import pytest

from glioflow.cohorts.cohort_checks import check_patients, check_visits


def warned(*patients: str) -> list[str]:
    manifest = pd.DataFrame({"case_id": patients, "patient_id": patients})
    return [row["found"] for row in check_visits(manifest)]


@pytest.mark.parametrize(
    "ids",
    [
        ("P1_baseline", "P1_followup", "P2_baseline"),
        ("P1_pre", "P1_post-op"),
        ("A7_v1", "A7_v2", "A8_v1"),
        ("sub-03_ses-1", "sub-03_ses-2"),
        ("P001_1", "P001_2", "P002_1", "P003_1"),
        ("P001", "P001_2", "P002"),
        ("TCGA_CS_4941_19960909", "TCGA_CS_4941_19970101", "TCGA_CS_4942_19970222"),
        ("lee scan 1", "lee scan 2"),
    ],
)
def test_ids_that_differ_in_a_visit_are_warned_of_with_their_cases(ids: tuple[str, ...]) -> None:
    (text,) = warned(*ids)
    assert all(name in text for name in ids[:2])
    assert "they count as different patients" in text
    assert "P2_baseline" not in text and "P002_1" not in text


@pytest.mark.parametrize(
    "ids",
    [
        ("BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"),
        ("BraTS2021_001", "BraTS2021_002", "BraTS2021_003"),  # numbers under one beginning are patients
        ("Brats18_2013_11_1", "Brats18_2013_23_1", "Brats18_CBICA_ABM_1"),
        ("case0", "case1", "case2"),
        ("phantom_000", "phantom_001"),
        ("site_s1", "site_s2"),
        ("UPENN-GBM-00001", "UPENN-GBM-00002"),
        ("B22_1", *(f"A21_{number}" for number in range(40))),  # no patient comes so often
    ],
)
def test_ids_that_number_patients_are_not(ids: tuple[str, ...]) -> None:
    assert warned(*ids) == []


def test_visits_under_one_patient_id_are_well() -> None:
    manifest = pd.DataFrame({"case_id": ["P1_v1", "P1_v2"], "patient_id": ["P1", "P1"]})
    assert check_patients(manifest) == []


def test_numbers_of_patients_that_are_known_are_no_visits() -> None:
    patients = ["Brats18_2013_11", "Brats18_2013_23", "Brats18_CBICA_ABM"]
    manifest = pd.DataFrame({"case_id": [f"{patient}_1" for patient in patients], "patient_id": patients})
    assert check_visits(manifest) == []


def test_it_is_a_warning_that_says_what_to_do_and_many_cases_are_counted() -> None:
    patients = [f"P{patient:02}_v{visit}" for patient in range(8) for visit in (1, 2)]
    (row,) = check_patients(pd.DataFrame({"case_id": patients, "patient_id": patients}))
    assert (row["problem"], row["severity"]) == ("visit_ids", "warning")
    assert row["found"].startswith("16 cases whose ids differ only in a visit") and " and 6 more: " in row["found"]
    assert "patient_id" in row["expected"]
