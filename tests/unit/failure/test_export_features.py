"""SlicerRadiomics' table: its columns, its names, every value as it is."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd

import export_features
from glioflow.console import Console
from glioflow.files import read_table, write_table

VOXELS = "diagnostics_Mask-original_VoxelNum"


def radiomics() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": ["a", "a", "a", "b"],
            "patient_id": ["a", "a", "a", "b"],
            "image": ["flair", "flair", "t1ce", "flair"],
            "mask": ["truth"] * 4,
            "region": ["WT", "ET", "WT", "WT"],
            "grey_levels": [20, None, 21, 22],
            VOXELS: [1000.0, None, 1000.0, 5.0],
            "original_firstorder_Mean": [0.1 + 0.2, None, 3.0, 4.0],
            "wavelet-LLH_glcm_Idm": [0.5, None, 0.25, 1.0],
            "note": [None, "ET of the truth: the mask is empty", None, None],
        }
    )


def run(folder: Path, table: pd.DataFrame) -> str:
    write_table(folder / "radiomics.csv", table)
    job = SimpleNamespace(
        input=SimpleNamespace(radiomics=str(folder / "radiomics.csv")),
        output=SimpleNamespace(table=str(folder / "slicer_radiomics.csv")),
        params=SimpleNamespace(made_in=str(folder / "slicer_radiomics")),
    )
    return export_features.main(job, Console())


def test_a_case_has_a_table_an_image_with_a_column_a_region(tmp_path: Path) -> None:
    assert run(tmp_path, radiomics()) == "3 files"
    table = read_table(tmp_path / "slicer_radiomics.csv")
    assert list(table["file"]) == [f"slicer_radiomics/{name}.tsv" for name in ("a_flair", "a_t1ce", "b_flair")]
    assert (tmp_path / table["file"][0]).read_text().splitlines() == [
        "Image type\tFeature Class\tFeature Name\tWT\tET",
        "diagnostics\tMask-original\tVoxelNum\t1000\t",
        "original\tfirstorder\tMean\t0.30000000000000004\t",
        "wavelet-LLH\tglcm\tIdm\t0.5\t",
    ]


def test_a_case_that_is_gone_takes_its_file_along(tmp_path: Path) -> None:
    run(tmp_path, radiomics())
    assert run(tmp_path, radiomics().head(3)) == "2 files"
    assert sorted(path.name for path in (tmp_path / "slicer_radiomics").iterdir()) == ["a_flair.tsv", "a_t1ce.tsv"]
