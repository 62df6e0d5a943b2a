import pandas as pd

from compare_cohorts import compare_manifests, id_severity


def manifest(prefix: str, orientation: str = "LPS", **columns) -> pd.DataFrame:
    ids = [f"{prefix}{number}" for number in range(3)]
    voxels = [f"hash_{case}" for case in ids]
    table = {"case_id": ids, "patient_id": [f"pat_{case}" for case in ids], "t1_voxels": voxels, "orientation": orientation}
    return pd.DataFrame({**table, **columns})


def found(cohort: pd.DataFrame, training: pd.DataFrame) -> list[tuple[str, str]]:
    return [(p["case_id"], p["problem"]) for p in compare_manifests(cohort, "ext", training, "train", "error")]


def test_cohorts_of_other_patients_have_no_problem():
    assert found(manifest("a"), manifest("b")) == []


def test_an_image_that_the_model_was_trained_on_is_a_leak_whatever_it_is_called():
    leaked = manifest("a", t1_voxels=["hash_b2", "x", "y"])
    assert found(leaked, manifest("b")) == [("a0", "leaked_image")]


def test_an_image_is_found_again_as_another_channel():
    assert found(manifest("a", flair_voxels=["x", "hash_b1", None]), manifest("b")) == [("a1", "leaked_image")]


def test_a_patient_in_both_is_a_leak():
    assert found(manifest("a", patient_id=["p", "pat_b1", "q"]), manifest("b")) == [("a1", "leaked_patient")]


def test_a_patient_is_known_by_further_ids_too():
    training = manifest("b", tcga_tcia_subject_id=["TCGA-1", None, "TCGA-2"])
    assert found(manifest("a", tcga_tcia_subject_id=[None, "TCGA-2", None]), training) == [("a1", "leaked_patient")]
    assert found(manifest("a", patient_id=["TCGA-1", "p", "q"]), training) == [("a0", "leaked_patient")]


def test_a_case_is_found_by_the_id_it_had_in_another_year():
    training = manifest("BraTS20_", brats_2019_subject_id=["BraTS19_CBICA_AAB_1", None, None])
    cohort = manifest("x", case_id=["BraTS19_CBICA_AAB_1", "y", "z"], patient_id=["BraTS19_CBICA_AAB", "y", "z"])
    assert found(cohort, training) == [("BraTS19_CBICA_AAB_1", "leaked_patient")]


def test_a_leaked_case_is_said_once():
    leaked = manifest("a", t1_voxels=["hash_b0", "x", "y"], patient_id=["pat_b0", "p", "q"])
    assert found(leaked, manifest("b")) == [("a0", "leaked_image")]


def test_another_orientation_is_an_error_that_names_the_remedy():
    problems = compare_manifests(manifest("a", "RAS"), "ext", manifest("b"), "train", "error")
    assert [p["problem"] for p in problems] == ["orientation"]
    assert "give 'ext' the key grid: {orientation: LPS}" in problems[0]["expected"]


def test_ids_of_published_data_sets_weigh_more_than_those_somebody_gave_to_files():
    assert id_severity("brats2023_gli", "brats2024_gli") == "error"
    assert id_severity("brats2021", "table") == id_severity("folders", "bids") == "warning"
    assert id_severity("phantom", "phantom") is None


def test_ids_alike_by_chance_are_a_warning_and_say_nothing_of_phantoms():
    cohort = manifest("a", patient_id=["p", "pat_b1", "q"])
    assert [p["severity"] for p in compare_manifests(cohort, "ext", manifest("b"), "train", "warning")] == ["warning"]
    assert compare_manifests(cohort, "ext", manifest("b"), "train", None) == []
