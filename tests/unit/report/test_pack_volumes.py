"""What the viewer is given: exact masks, images near enough to look at, in the right place, and no name."""

import base64
import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

import pack_volumes
import write_report
from glioflow.console import Console, UserError
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.metrics import Pair
from glioflow.failure.failure_types import KINDS, classify_region
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.labels import ED, ET
from glioflow.imaging.volumes import Volume, write_volume
from glioflow.models.uncertainty import map_path
from glioflow.report.volumes import (
    BRAIN,
    LEVELS,
    Channel,
    Uncertainty,
    mosaic,
    mosaic_columns,
    pack_case,
    picture_text,
    script_text,
)

CONVENTION = conventions()["glioflow"]
AFFINE = np.array([[-1.0, 0, 0, 30], [0, -1.0, 0, 40], [0, 0, 2.0, -10], [0, 0, 0, 1]])
SHAPE = (40, 44, 20)


def unpack(address: str, shape: list[int], columns: int) -> NDArray[np.uint8]:
    """Return the voxels of a picture of slices, as the viewer's script reads them."""
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))[..., 0]
    width, height, depth = shape
    slices = []
    for z in range(depth):
        y, x = divmod(z, columns)
        slices.append(picture[y * height : (y + 1) * height, x * width : (x + 1) * width].T)
    return np.stack(slices, axis=2)


@pytest.fixture(scope="module")
def case() -> SimpleNamespace:
    rng = np.random.default_rng(1)
    image = np.zeros(SHAPE)
    x, y, z = np.indices(SHAPE)
    brain = (slice(5, 35), slice(6, 40), slice(2, 18))
    image[brain] = (200 + 8 * x + 4 * y - 6 * z + rng.normal(0, 2, SHAPE))[brain]
    truth, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    truth[10:20, 10:20, 5:10] = ED
    truth[12:16, 12:16, 6:8] = ET
    prediction[11:20, 10:20, 5:10] = ED
    prediction[30:32, 30:33, 15] = ED
    channels = {"flair": Channel("FLAIR", image), "t1ce": Channel("FLAIR in place of T1ce", image * 2)}
    bits = np.clip(1 - np.hypot(x - 15, y - 15) / 8, 0, 1)  # around the tumour, as such maps are
    uncertainty = Uncertainty(bits, processed=True)
    packed = pack_case(channels, Volume(truth, AFFINE), prediction, ["WT", "ET"], CONVENTION, uncertainty)
    return SimpleNamespace(image=image, truth=truth, prediction=prediction, bits=bits, packed=packed, box=brain)


def test_slices_stand_side_by_side_and_come_back() -> None:
    data = np.random.default_rng(0).integers(0, 255, (7, 5, 11), np.uint8)
    assert np.array_equal(unpack(picture_text(mosaic(data)), [7, 5, 11], mosaic_columns((7, 5, 11))), data)


def test_it_is_cropped_to_the_brain_and_placed_where_it_was(case: SimpleNamespace) -> None:
    assert case.packed["shape"] == [30, 34, 16]
    first = np.array([part.start for part in case.box])
    assert np.array(case.packed["affine"])[:, 3].tolist() == (AFFINE[:3, :3] @ first + AFFINE[:3, 3]).tolist()


def test_truth_prediction_and_brain_come_back_exactly(case: SimpleNamespace) -> None:
    codes = unpack(case.packed["labels"], case.packed["shape"], case.packed["columns"])
    assert np.array_equal(codes % BRAIN % 5, case.truth[case.box])
    assert np.array_equal(codes % BRAIN // 5, case.prediction[case.box])
    assert np.array_equal(codes >= BRAIN, case.image[case.box] != 0)


def test_intensities_come_back_within_a_few_greys(case: SimpleNamespace) -> None:
    channel = case.packed["channels"]["flair"]
    greys = unpack(channel["picture"], case.packed["shape"], case.packed["columns"]).astype(float)
    back = channel["low"] + (greys - 1) * channel["step"]
    assert np.abs(back - case.image[case.box]).mean() < 8 * channel["step"]
    assert case.packed["channels"]["t1ce"]["name"] == "FLAIR in place of T1ce"


def test_entropy_comes_back_within_some_tenths_of_a_bit_cropped_like_the_channels(case: SimpleNamespace) -> None:
    packed = case.packed["uncertainty"]
    codes = unpack(packed["picture"], case.packed["shape"], case.packed["columns"])
    wrong = np.abs(codes / packed["levels"] - case.bits[case.box])
    assert (wrong.mean() < 0.01, wrong.max() < 0.2) == (True, True), (wrong.mean(), wrong.max())
    assert packed["processed"] is True


def test_every_wrong_voxel_has_the_kind_that_the_table_counts(case: SimpleNamespace) -> None:
    pair = Pair(case.truth, case.prediction, (1.0, 1.0, 2.0))
    for region in ("WT", "ET"):
        codes = unpack(case.packed["errors"][region], case.packed["shape"], case.packed["columns"])
        row = classify_region(pair, region, CONVENTION)
        assert [int((codes == 1 + place).sum()) for place in range(len(KINDS))] == [row[f"n_{kind}"] for kind in KINDS]
    assert case.packed["kinds"] == list(KINDS)


def test_places_are_in_mm_of_the_image(case: SimpleNamespace) -> None:
    places = case.packed["places"]["WT"]
    assert places["false"]["ml"] == pytest.approx(6 * 0.002)
    voxel = np.linalg.solve(AFFINE[:3, :3], np.array(places["false"]["mm"]) - AFFINE[:3, 3])
    assert voxel.tolist() in ([30, 31, 15], [31, 31, 15])
    assert places["missed"]["ml"] == pytest.approx(50 * 0.002)
    witness = places["witness"]
    apart = np.subtract(witness["truth"], witness["prediction"])
    scored = Pair(case.truth, case.prediction, (1.0, 1.0, 2.0)).score("WT", CONVENTION)["hausdorff"]
    assert np.linalg.norm(apart) == pytest.approx(scored, abs=1e-6)
    assert (witness["from"], witness["length_mm"]) == ("prediction", pytest.approx(scored, abs=1e-6))


def test_a_region_that_a_mask_lacks_has_no_distance_and_says_why(case: SimpleNamespace) -> None:
    places = case.packed["places"]["ET"]
    assert (places["witness"], places["note"], places["false"]) == (None, "absent in prediction", None)


def test_the_script_is_json_in_one_assignment(case: SimpleNamespace) -> None:
    text = script_text(case.packed)
    name, _, rest = text.partition(" = ")
    assert name == "globalThis.glioflowVolumes"
    assert json.loads(rest.rstrip(";\n")) == case.packed
    assert "<" not in text


def test_the_library_is_the_version_recorded_with_its_licence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = write_report.viewer_library()
    assert text.startswith(f"/*!\nNiiVue {write_report.NIIVUE_RELEASE} ") and "BSD 2-Clause License" in text[:400]
    assert "*/" not in text[3 : text.index("*/\n")]
    for file in write_report.ASSETS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() + b" ")
    monkeypatch.setattr(write_report, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match="is not NiiVue"):
        write_report.viewer_library()


# ---- the job


class Study:
    """A folder with three cases, of which one is an extreme, and the job that packs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(4)
        manifest, predictions = [], []
        for case_id in ("bad", "middle", "other"):
            volumes: dict[str, NDArray[Any]] = {
                "flair": rng.integers(1, 900, (12, 14, 10)).astype(np.int16),
                "label": np.zeros((12, 14, 10), np.uint8),
                "prediction": np.zeros((12, 14, 10), np.uint8),
            }
            volumes["label"][3:6, 3:6, 3:6] = volumes["prediction"][4:7, 3:6, 3:6] = ED
            files = {name: str(folder / f"{case_id}_{name}.nii.gz") for name in volumes}
            for name, data in volumes.items():
                write_volume(files[name], Volume(data, AFFINE))
            case = {"case_id": case_id, "patient_id": case_id}
            hashes = {f"{name}_sha256": sha256_file(files[name]) for name in ("flair", "label")}
            manifest.append({**case, "flair": files["flair"], "label": files["label"], **hashes})
            predictions.append({**case, "prediction": files["prediction"], "sha256": sha256_file(files["prediction"])})
        extremes = pd.DataFrame({"group": ["worst"], "rank": [1], "case_id": ["bad"]})
        for name, rows in {"extremes": extremes, "manifest": manifest, "predictions": predictions}.items():
            write_table(folder / f"{name}.csv", pd.DataFrame(rows))

    def add_map(self, bits: NDArray[Any], case_id: str = "bad", changed: bool = False) -> Path:
        """Give a case a map, and the masks a table as a network's; ``changed``: the case's mask is other than the network's."""
        table = read_table(self.folder / "predictions.csv")
        if changed:
            table.loc[table["case_id"] == case_id, "sha256"] = "0" * 64
        write_table(self.folder / "network_predictions.csv", table)
        path = map_path(self.folder / f"{case_id}_prediction.nii.gz")
        path.parent.mkdir(exist_ok=True)
        image = nib.Nifti1Image(np.round(bits * 255).astype(np.uint8), AFFINE)
        image.header.set_slope_inter(1 / 255, 0)
        nib.save(image, path)
        return path

    def packed(self, name: str = "worst_01") -> dict[str, Any]:
        text = (self.folder / f"viewer/{name}.js").read_text()
        return dict(json.loads(text.partition(" = ")[2].rstrip(";\n")))

    def run(self, cases: tuple[str, ...] = ()) -> pd.DataFrame:
        names = ("extremes", "manifest", "predictions", "network_predictions")
        tables = {name: str(self.folder / f"{name}.csv") for name in names if (self.folder / f"{name}.csv").exists()}
        plan = {"region": "WT", "regions": ["ET", "WT"], "trained_regions": None, "truth_regions": None}
        target = self.folder / "viewer" / "volumes.csv"
        job = SimpleNamespace(
            input=SimpleNamespace(**tables, get=tables.get),
            output=SimpleNamespace(table=str(target)),
            params=SimpleNamespace(**plan, convention="glioflow", cases=list(cases)),
            threads=1,
        )
        pack_volumes.main(job, Console())
        return read_table(target)


def test_the_extremes_are_packed_and_the_cases_that_are_named(tmp_path: Path) -> None:
    study = Study(tmp_path)
    assert study.run()[["group", "case_id", "path"]].to_numpy().tolist() == [["worst", "bad", "worst_01.js"]]
    table = study.run(("other", "bad", "nobody"))
    assert table[["group", "rank", "case_id", "path"]].to_numpy().tolist() == [
        ["worst", 1, "bad", "worst_01.js"],
        ["further", 1, "other", "further_01.js"],
    ]
    sizes = [(tmp_path / "viewer" / name).stat().st_size for name in table["path"]]
    assert list(table["bytes"]) == sizes
    study.run()
    assert [path.name for path in (tmp_path / "viewer").glob("*.js")] == ["worst_01.js"], "what is not packed any more is gone"


def test_nothing_in_a_script_names_its_case_and_the_bytes_are_the_same_again(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.run()
    script = tmp_path / "viewer" / "worst_01.js"
    before = script.read_bytes()
    assert b"bad" not in before.split(b"base64")[0] and str(tmp_path).encode() not in before
    study.run()
    assert script.read_bytes() == before


def test_a_map_is_packed_with_its_case_and_a_case_without_one_has_none(tmp_path: Path) -> None:
    study = Study(tmp_path)
    bits = np.zeros((12, 14, 10))
    bits[:, :7], bits[:6, 7:] = 1, 0.5
    path = study.add_map(bits)
    study.run(("other",))
    packed = study.packed()
    codes = unpack(packed["uncertainty"]["picture"], packed["shape"], packed["columns"])
    bits_back = codes / LEVELS
    assert bits_back[2, 2, 5] == pytest.approx(1, abs=0.1)
    assert bits_back[2, -2, 5] == pytest.approx(0.5, abs=0.1)
    assert bits_back[-2, -2, 5] == pytest.approx(0, abs=0.1)
    assert packed["uncertainty"]["processed"] is False
    assert study.packed("further_01")["uncertainty"] is None
    path.unlink()
    study.run()
    assert study.packed()["uncertainty"] is None, "a map that was deleted is not missed"


def test_a_map_of_a_mask_that_post_processing_changed_says_so(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add_map(np.zeros((12, 14, 10)), changed=True)
    study.run()
    assert study.packed()["uncertainty"]["processed"] is True


def test_a_map_that_is_damaged_or_of_another_shape_is_named_with_what_to_do(tmp_path: Path) -> None:
    study = Study(tmp_path)
    path = study.add_map(np.zeros((3, 3, 3)))
    with pytest.raises(UserError, match=r"entropy/bad_prediction.nii.gz: has shape \(3, 3, 3\).*delete it"):
        study.run()
    study.add_map(np.zeros((12, 14, 10)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"entropy/bad_prediction.nii.gz: cannot be read.*delete it"):
        study.run()


def test_an_image_of_another_shape_is_refused(tmp_path: Path) -> None:
    study = Study(tmp_path)
    write_volume(tmp_path / "bad_flair.nii.gz", Volume(np.ones((3, 3, 3), np.int16), AFFINE))
    with pytest.raises(UserError, match=r"bad: .*bad_flair.nii.gz has shape \(3, 3, 3\); expected \(12, 14, 10\) as "):
        study.run()
