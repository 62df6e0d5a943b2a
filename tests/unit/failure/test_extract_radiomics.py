"""The table of features: its rows, its shards that resume, and what is refused."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_radiomics import brain_like, volume

import extract_radiomics
from glioflow.console import Console, UserError
from glioflow.failure.radiomics import extract_features
from glioflow.failure.radiomics_parameters import default_parameters, feature_names
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.labels import ED, ET
from glioflow.imaging.volumes import write_volume
from glioflow.shards import shard_names, shard_of
from glioflow.study.feature_names import feature_columns

DEFAULTS = default_parameters()
NAMES = list(feature_names(DEFAULTS))


class Study:
    """A folder with extreme cases, and the job that extracts a shard of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest, predictions = [], []
        for number in range(4):
            image, mask = brain_like(number)
            truth = np.where(mask, ED, 0).astype(np.uint8)
            prediction = np.where(np.roll(mask, 1, 0), ET, 0).astype(np.uint8)
            if number == 2:
                truth[:] = 0
            case = {"case_id": f"case_{number}", "patient_id": f"patient_{number}"}
            paths = {name: str(folder / f"{name}_{number}.nii.gz") for name in ("flair", "label", "prediction")}
            for name, data in (("flair", image), ("label", truth), ("prediction", prediction)):
                write_volume(paths[name], volume(data))
            hashes = {name: sha256_file(path) for name, path in paths.items()}
            manifest.append(
                {
                    **case,
                    "flair": paths["flair"],
                    "label": paths["label"],
                    "flair_sha256": hashes["flair"],
                    "label_sha256": hashes["label"],
                }
            )
            predictions.append({**case, "prediction": paths["prediction"], "sha256": hashes["prediction"]})
        order = [3, 2, 0, 1]
        cases = {"patient_id": [f"patient_{n}" for n in order], "case_id": [f"case_{n}" for n in order]}
        scores = pd.concat([pd.DataFrame(cases).assign(label=region) for region in ("WT", "ED", "ET")])
        extremes = pd.DataFrame({"group": ["worst", "best"], "rank": 1, "case_id": ["case_1", "case_3"]})
        for name, table in (
            ("scores", scores),
            ("extremes", extremes),
            ("manifest", pd.DataFrame(manifest)),
            ("predictions", pd.DataFrame(predictions)),
        ):
            write_table(folder / f"{name}.csv", table)

    def run(
        self, threads: int = 1, output: str = "radiomics.csv", extremes: bool = False, **params: Any
    ) -> tuple[str, pd.DataFrame]:
        defaults: Mapping[str, Any] = {
            "images": ["flair"],
            "mask": "truth",
            "regions": ["WT"],
            "ranked": "WT",
            "shard": "1-of-1",
            "parameters": DEFAULTS,
            "cache": str(self.folder / "cache.jsonl"),
        }
        names = ["scores", "manifest", "predictions", *(["extremes"] if extremes else [])]
        job = SimpleNamespace(
            input=SimpleNamespace(**{name: str(self.folder / f"{name}.csv") for name in names}),
            output=SimpleNamespace(radiomics=str(self.folder / output)),
            params=SimpleNamespace(**{**defaults, **params}),
            threads=threads,
        )
        said = extract_radiomics.main(job, Console(self.folder / "log.txt"))
        return said, read_table(self.folder / output)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_every_case_has_its_row_in_the_order_of_the_scores(study: Study) -> None:
    said, table = study.run()
    assert said == "4 cases, 109 features"
    head, tail = ["case_id", "patient_id", "image", "mask", "region", "grey_levels"], ["note"]
    assert list(table.columns) == [*head, *NAMES, *tail]
    assert list(table["case_id"]) == ["case_3", "case_2", "case_0", "case_1"]
    image, mask = brain_like(3)
    expected = extract_features(volume(image), mask, DEFAULTS).features
    assert table[NAMES].iloc[0].to_dict() == expected


def test_the_extremes_alone_have_the_values_that_they_have_among_all_cases(study: Study) -> None:
    _, every = study.run()
    said, table = study.run(extremes=True, output="extremes_only.csv")
    assert said == "2 cases, 109 features, 2 kept from before"
    assert list(table["case_id"]) == ["case_3", "case_1"]
    pd.testing.assert_frame_equal(
        table, every[every["case_id"].isin(table["case_id"])].reset_index(drop=True), check_dtype=False
    )


def test_an_empty_mask_keeps_its_row_with_features_empty_and_a_note(study: Study) -> None:
    _, table = study.run()
    empty = table[table["case_id"] == "case_2"].iloc[0]
    assert empty[NAMES].isna().all()
    assert empty["note"] == "WT of the truth: the mask is empty"
    assert table["note"].notna().sum() == 1


def test_the_prediction_can_be_the_mask(study: Study) -> None:
    _, truth = study.run()
    _, prediction = study.run(mask="prediction", regions=["ET"])
    assert list(prediction["mask"]) == ["prediction"] * 4
    assert prediction["original_shape_VoxelVolume"].notna().all()
    assert prediction["original_shape_VoxelVolume"][0] == truth["original_shape_VoxelVolume"][0]
    assert prediction["original_firstorder_Mean"][0] != truth["original_firstorder_Mean"][0]


def test_shards_hold_every_case_once(study: Study) -> None:
    tables = {shard: study.run(shard=shard, cache=str(study.folder / f"{shard}.jsonl"))[1] for shard in shard_names(3)}
    assert sorted(pd.concat(tables.values())["case_id"]) == [f"case_{number}" for number in range(4)]
    assert all(case_id in set(tables[shard_of(case_id, 3)]["case_id"]) for case_id in ("case_0", "case_1", "case_2", "case_3"))


def test_a_shard_without_cases_is_an_empty_table_with_its_columns(study: Study) -> None:
    empty = next(name for name in shard_names(50) if name not in {shard_of(f"case_{number}", 50) for number in range(4)})
    said, table = study.run(shard=empty)
    assert said == "0 cases, 109 features"
    assert len(table) == 0
    assert set(NAMES) < set(table.columns)


def test_processes_change_no_value(study: Study) -> None:
    study.run(output="one.csv", cache=str(study.folder / "one.jsonl"))
    study.run(output="two.csv", cache=str(study.folder / "two.jsonl"), threads=2)
    assert (study.folder / "one.csv").read_bytes() == (study.folder / "two.csv").read_bytes()


def test_a_second_run_reads_no_image(study: Study) -> None:
    study.run()
    before = (study.folder / "radiomics.csv").read_bytes()
    for image in study.folder.glob("*.nii.gz"):
        image.unlink()
    said, _ = study.run()
    assert said.endswith("4 kept from before")
    assert (study.folder / "radiomics.csv").read_bytes() == before


@pytest.mark.parametrize("change", [{"parameters": default_parameters(10)}, {"regions": ["ED"]}, {"mask": "prediction"}])
def test_what_a_value_depends_on_makes_it_computed_again(study: Study, change: dict[str, Any]) -> None:
    study.run()
    said, _ = study.run(**change)
    assert "kept" not in said


def test_another_image_makes_only_its_case_computed_again(study: Study) -> None:
    study.run()
    manifest = read_table(study.folder / "manifest.csv")
    manifest.loc[0, "flair_sha256"] = "another"
    write_table(study.folder / "manifest.csv", manifest)
    said, _ = study.run()
    assert said.endswith("3 kept from before")


def test_pyradiomics_speaks_to_the_log_and_not_to_the_terminal(study: Study, capfd: pytest.CaptureFixture[str]) -> None:
    study.run()
    assert capfd.readouterr() == ("", "")
    assert "pyradiomics, 3 rows: GLCM is symmetrical" in (study.folder / "log.txt").read_text()


def test_a_case_whose_channel_is_substituted_has_no_features_and_says_what_is_there(study: Study) -> None:
    _, before = study.run(output="before.csv")
    first = study.run()[1]["case_id"][0]
    manifest = read_table(study.folder / "manifest.csv")
    write_table(
        study.folder / "manifest.csv",
        manifest.assign(substituted=["t1=zeros;flair=t2" if case == first else None for case in manifest["case_id"]]),
    )
    said, table = study.run()
    assert said.endswith(", 1 without their image")
    features = feature_columns(table)
    assert table.loc[0, features].isna().all()
    assert table["note"][0] == f"{first} has no flair; t2 takes its place, and no features are computed"
    pd.testing.assert_frame_equal(table.iloc[1:], before.iloc[1:])


def test_an_unknown_channel_or_mask_is_refused_with_those_there_are(study: Study) -> None:
    with pytest.raises(UserError, match=r"image: t1 is not a channel of this cohort, which has flair"):
        study.run(images=["t1"])
    with pytest.raises(UserError, match=r"mask: both is not one of truth, prediction"):
        study.run(mask="both")


def test_a_case_without_a_truth_is_named(study: Study) -> None:
    write_table(study.folder / "manifest.csv", read_table(study.folder / "manifest.csv").assign(label=pd.NA))
    with pytest.raises(UserError, match=r"case_3: the manifest names no label file for this case"):
        study.run()


def test_a_mask_of_another_shape_has_a_row_with_both_shapes_and_no_features(study: Study) -> None:
    write_volume(study.folder / "label_3.nii.gz", volume(np.ones((3, 3, 3), np.uint8)))
    _, table = study.run()
    row = table[table["case_id"] == "case_3"].iloc[0]
    assert row["note"] == "WT of the truth: the mask has shape (3, 3, 3), the image (24, 20, 16): it is not on the image"
    assert row[NAMES].isna().all()
    assert table[table["case_id"] == "case_0"][NAMES].notna().all(axis=None)
