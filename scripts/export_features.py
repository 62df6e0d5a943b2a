"""Write the features of a set as SlicerRadiomics writes them: a TSV for each case and image.

Its columns are Image type, Feature Class and Feature Name, then one of values for each segment, here each region, as the
SlicerRadiomics extension of 3D Slicer lays its table out (AIM-Harvard/SlicerRadiomics, SlicerRadiomics.py). A value that is
not defined is empty.

Inputs:  ``radiomics`` (radiomics.csv).
Outputs: ``table``: case_id, image, file; and the files in ``slicer_radiomics/`` beside it, as ``<case_id>_<image>.tsv``, which
         ``file`` names relative to the table.
Params:  ``made_in``: the folder of the files.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table, write_text
from glioflow.study.feature_names import MASK_COUNTS, feature_columns

HEADER = ("Image type", "Feature Class", "Feature Name")


def slicer_table(rows: pd.DataFrame) -> str:
    """Return the TSV of the rows of one case and image, a row a region."""
    lines = [[*HEADER, *map(str, rows["region"])]]
    for feature in feature_columns(rows.columns):
        values = [_value(feature, value) for value in rows[feature]]
        lines.append([*feature.split("_", 2), *values])
    return "".join("\t".join(line) + "\n" for line in lines)


def _value(feature: str, value: float) -> str:
    if pd.isna(value):
        return ""
    return str(int(value)) if feature in MASK_COUNTS else repr(float(value))


def main(snakemake: Any, console: Console) -> str:
    """Write the files and their table."""
    radiomics, folder = read_table(snakemake.input.radiomics), Path(snakemake.params.made_in)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for (case_id, image), rows in radiomics.groupby(["case_id", "image"], sort=False):
        path = folder / f"{case_id}_{image}.tsv"
        write_text(path, slicer_table(rows))
        written.append({"case_id": case_id, "image": image, "file": f"{folder.name}/{path.name}"})
    for left_over in {path.name for path in folder.glob("*.tsv")} - {Path(row["file"]).name for row in written}:
        (folder / left_over).unlink()
    write_table(snakemake.output.table, pd.DataFrame(written, columns=["case_id", "image", "file"]))
    return count(len(written), "file")


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
