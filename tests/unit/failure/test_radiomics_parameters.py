"""Parameter files of pyradiomics: what they say reaches the values, and what is wrong with them is told."""

import ast
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml
from radiomics.featureextractor import RadiomicsFeatureExtractor
from test_radiomics import brain_like, volume

from glioflow.console import UserError
from glioflow.failure.radiomics import extract_features, extraction_key
from glioflow.failure.radiomics_parameters import (
    default_parameters,
    feature_names,
    parameter_problems,
    read_parameters,
)
from glioflow.study.feature_names import FEATURE_GROUPS, MASK_COUNTS, feature_columns, is_feature

# The baselines are older than pyradiomics 3.0.1, whose own mesh of brain1 is up to 0.09 % larger.
OF_THE_MESH = ("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity")
GROUPS = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "shape", "shape2D")
FILTERS = {
    "Original": {},
    "LoG": {"sigma": [2.0, 3.0]},
    "Wavelet": {},
    "Square": {"binWidth": 50},
    "SquareRoot": {},
    "Logarithm": {},
    "Exponential": {},
    "Gradient": {},
    "LBP2D": {},
}


def whole_pyradiomics(parameters: Mapping[str, Any], spacing: tuple[float, float, float], seed: int = 3) -> dict[str, Any]:
    """Return what pyradiomics itself gives for a made-up brain under the parameters."""
    image, mask = brain_like(seed)
    files = [
        sitk.GetImageFromArray(array.T) for array in (image, mask.astype(np.uint8) * parameters["setting"].get("label", 1))
    ]
    for file in files:
        file.SetSpacing(spacing)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return dict(RadiomicsFeatureExtractor(dict(parameters)).execute(*files))


@pytest.mark.parametrize(
    "setting",
    [
        {"binWidth": 25.0},
        {"binCount": 16},
        {"normalize": True, "normalizeScale": 100.0, "binWidth": 10.0},
        {"normalize": True, "normalizeScale": 100.0, "removeOutliers": 1.0},
        {"resampledPixelSpacing": [2.0, 2.0, 2.0], "normalize": True, "normalizeScale": 100.0},
        {"resegmentRange": [-1.0, 1.0], "resegmentMode": "sigma"},
        {"resegmentRange": [300.0, 1000.0], "resegmentShape": True},
        {"force2D": True, "force2Ddimension": 0},
        {"distances": [1, 2], "voxelArrayShift": 500, "symmetricalGLCM": False, "gldm_a": 1},
        {"weightingNorm": "euclidean", "label": 7, "preCrop": True},
    ],
)
def test_every_setting_gives_pyradiomics_own_values(setting: dict[str, Any]) -> None:
    parameters = {"setting": setting, "featureClass": {group: [] for group in FEATURE_GROUPS}, "imageType": {"Original": {}}}
    spacing = (0.9, 1.1, 2.5)
    expected, (image, mask) = whole_pyradiomics(parameters, spacing), brain_like(3)
    found = extract_features(volume(image, spacing), mask, parameters).features
    names = [name for name in expected if is_feature(name) and name not in MASK_COUNTS]
    assert len(names) >= 93
    for name in names:
        assert found[name] == pytest.approx(float(expected[name]), rel=1e-9, abs=1e-12, nan_ok=True), name
    for name in MASK_COUNTS:
        assert found[name] == expected[name]
    assert set(feature_names(parameters)) == {*names, *MASK_COUNTS}


def test_filtered_images_have_pyradiomics_own_values_and_names() -> None:
    parameters = {
        "setting": {"binWidth": 30.0, "normalize": True, "normalizeScale": 100.0},
        "imageType": FILTERS,
        "featureClass": {"firstorder": ["Mean", "Entropy"], "glcm": [], "shape": []},
    }
    expected, (image, mask) = whole_pyradiomics(parameters, (1.0, 1.0, 1.0)), brain_like(3)
    found = extract_features(volume(image), mask, parameters)
    names = [name for name in expected if is_feature(name)]
    assert sorted(found.features) == sorted(names) == sorted(feature_names(parameters)) == sorted(feature_columns(names))
    assert {"wavelet-LLH_firstorder_Mean", "log-sigma-2-0-mm-3D_glcm_Idm", "lbp-2D_firstorder_Entropy"} < set(names)
    for name in names:
        assert found.features[name] == pytest.approx(float(expected[name]), rel=1e-9, abs=1e-12), name


def test_without_a_file_the_original_image_is_normalised_to_100() -> None:
    assert default_parameters()["setting"] == {"binWidth": 25, "normalize": True, "normalizeScale": 100}
    assert list(default_parameters()["imageType"]) == ["Original"]


def test_a_file_is_read_as_pyradiomics_users_write_it(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("imageType:\n  Original:\n  LoG: {sigma: [3.0]}\nfeatureClass:\n  shape:\n  glcm: [Idm]\nsetting:\n")
    assert read_parameters(file) == {
        "imageType": {"Original": {}, "LoG": {"sigma": [3.0]}},
        "featureClass": {"shape": [], "glcm": ["Idm"]},
    }


def test_comments_and_layout_of_a_file_are_not_in_the_key_but_every_setting_is(tmp_path: Path) -> None:
    keys = []
    for text in ("setting: {binWidth: 5}", "# narrow\nsetting:\n  binWidth: 5", "setting: {binWidth: 6}"):
        (tmp_path / "p.yaml").write_text(text)
        keys.append(extraction_key(read_parameters(tmp_path / "p.yaml")))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("setting: {binWidth: wide}", "setting.binWidth: Value 'wide' is not of type 'float'"),
        ("setting: {binwidth: 5}", "setting: Key 'binwidth' was not defined"),
        ("setting: {interpolator: cubic}", 'setting: Interpolator value "cubic" not valid'),
        ("settings: {binWidth: 5}", "settings: unknown key; known: imageType, featureClass, setting, voxelSetting"),
        ("setting: [5]", "setting: found [5]; expected a mapping"),
        ("imageType: {Log: {sigma: [1.0]}}", "imageType: Image Type Log is not recognized"),
        ("imageType: {LoG: {}}", "imageType.LoG.sigma: missing; expected: a list of filter widths in mm"),
        ("imageType: {LoG: {sigma: [-1.0]}}", "imageType.LoG.sigma.0: "),
        ("imageType: {LBP3D: {}}", "imageType.LBP3D: pyradiomics makes no such image without the package trimesh"),
        ("featureClass: {glcm: [idm]}", "featureClass: Feature Class glcm contains unrecognized features: {'idm'}"),
        ("featureClass: {glcm: Idm}", "featureClass: Value of feature class glcm not expected type (list)"),
        ("setting: {resampledPixelSpacing: [1.0, 1.0]}", "setting.resampledPixelSpacing: found [1.0, 1.0]; expected 3 numbers"),
        ("setting: {resegmentRange: [1, 2, 3]}", "setting.resegmentRange: found [1, 2, 3]; expected 1 or 2 numbers"),
        ("setting: {binWidth: 5", "it cannot be read as YAML"),
        ("- setting", "found list; expected a mapping"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_parameters(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)


def test_every_problem_of_the_schema_is_told_at_once() -> None:
    assert len(parameter_problems({"setting": {"binWidth": "a", "label": "b"}})) == 2


def baselines(folder: Path, case: str) -> list[tuple[str, str, dict[str, Any], dict[str, float]]]:
    """Return class, variant, settings and values of each of pyradiomics' own baselines of one of its test cases."""
    found = []
    for group in GROUPS:
        with (folder / "baseline" / f"baseline_{group}.csv").open(newline="") as stream:
            rows = list(csv.reader(stream))
        for column, variant in enumerate(rows[0]):
            if variant.split("_")[0] == case:
                cells = {row[0]: row[column] for row in rows}
                settings = ast.literal_eval(cells["diagnostics_Configuration_Settings"])
                values = {name: float(cell) for name, cell in cells.items() if is_feature(name)}
                if group == "shape2D":  # of the mask's one slice that the box is on
                    settings["slice"] = ast.literal_eval(cells["diagnostics_Mask-corrected_BoundingBox"])[2]
                found.append((group, variant, {k: v for k, v in settings.items() if v is not None}, values))
    return found


@pytest.mark.real_data
@pytest.mark.parametrize("case", ["brain1", "brain2"])
def test_all_of_pyradiomics_published_values_come_out_by_a_parameter_file(real_data: Path, tmp_path: Path, case: str) -> None:
    folder = real_data / "radiomics"
    image, mask = (sitk.ReadImage(str(folder / f"{case}_{kind}.nrrd")) for kind in ("image", "label"))
    data, labels = (sitk.GetArrayFromImage(item).T for item in (image, mask))
    known = baselines(folder, case)
    assert len(known) == 44
    for group, variant, settings, values in known:
        region = labels == settings["label"]
        if (kept := settings.pop("slice", None)) is not None:
            region = region & (np.arange(labels.shape[2]) == kept)
        file = tmp_path / "parameters.yaml"
        file.write_text(yaml.safe_dump({"featureClass": {group: []}, "setting": settings}))
        found = extract_features(volume(data, image.GetSpacing()), region, read_parameters(file)).features
        assert set(MASK_COUNTS) < set(values)
        for name, value in values.items():
            tolerance = 1e-3 if name.rpartition("_")[2] in OF_THE_MESH else 1e-6
            assert found[name] == pytest.approx(value, rel=tolerance, abs=1e-12), (variant, name)
