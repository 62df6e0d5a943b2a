"""From masks to shapes, and on to what goes along with them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import save

import compare_shapes
import measure_shapes
from glioflow.console import Console
from glioflow.files import read_table, sha256_file, write_table
from glioflow.quality.shapes import FEATURES, shape_features


def test_the_scripts_from_masks_to_associations(tmp_path: Path):
    rows, predictions = [], []
    for number in range(8):
        labels = np.zeros((16, 16, 6), np.uint8)
        labels[3 : 8 + number % 4, 3:10, 1:5] = 2
        case = f"c{number}"
        truth = save(tmp_path / f"{case}_truth.nii.gz", labels)
        predicted = save(tmp_path / f"{case}_prediction.nii.gz", labels * (number != 7))
        rows.append(
            {
                "case_id": case,
                "patient_id": case,
                "label": str(truth),
                "label_sha256": sha256_file(truth),
                "cluster": number % 2,
            }
        )
        rows[-1]["spacing_mm"] = "1x1x1"
        predictions.append({"case_id": case, "patient_id": case, "fold": None, "tta": None, "prediction": str(predicted)})
        predictions[-1] |= {"sha256": sha256_file(predicted), "missing": number == 6}
    write_table(tmp_path / "manifest.csv", pd.DataFrame(rows))
    write_table(tmp_path / "predictions.csv", pd.DataFrame(predictions))
    files = {name: tmp_path / f"{name}.csv" for name in ("manifest", "predictions", "shapes", "associations")}
    params = SimpleNamespace(region="WT", trained_regions=["WT"], truth_regions=["WT"], cache=tmp_path / "cache.jsonl")
    job = SimpleNamespace(input=SimpleNamespace(**files), output=SimpleNamespace(**files), params=params, threads=1)
    assert measure_shapes.main(job, Console()) == "8 cases, 14 masks with a shape"
    table = read_table(files["shapes"], ("mask", "region")).set_index(["case_id", "mask"])
    assert table.loc[("c6", "prediction"), "note"] == "prediction missing"
    assert table.loc[("c7", "prediction"), "note"] == "the region is empty"
    expected, _ = shape_features(labels == 2, np.diag([-1.0, -1, 1, 1]), (1, 1, 1))
    assert table.loc[("c7", "truth"), list(FEATURES)].to_dict() == pytest.approx(expected)
    assert measure_shapes.main(job, Console()).endswith(", 8 already measured")
    assert compare_shapes.main(job, Console()).startswith("1 covariate tested, the smallest q ")
    assert list(read_table(files["associations"]).columns) == list(compare_shapes.COLUMNS)
    params.trained_regions, params.region = ["TC"], "WT"
    measure_shapes.main(job, Console())
    table = read_table(files["shapes"], ("mask", "region"))
    assert table.loc[table["mask"] == "prediction", "note"].eq("not applicable: the model predicts TC only").all()
