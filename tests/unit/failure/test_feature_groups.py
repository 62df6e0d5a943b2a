"""Every feature has one meaning group, and the file is read strictly."""

from pathlib import Path

import pytest

from glioflow.console import UserError
from glioflow.failure import feature_groups
from glioflow.failure.feature_groups import meaning_group
from glioflow.failure.radiomics_parameters import default_parameters, feature_names
from glioflow.report.plotting import meaning_colours
from glioflow.study import registry


def test_every_feature_of_pyradiomics_has_a_group() -> None:
    found = {meaning_group(name) for name in feature_names(default_parameters())}
    assert found == set(feature_groups.feature_groups()) - {"other"}


@pytest.mark.parametrize(
    ("feature", "group"),
    [
        ("original_shape_MeshVolume", "size"),
        ("original_shape_Sphericity", "shape"),
        ("original_firstorder_Mean", "level"),
        ("wavelet-LLH_firstorder_Mean", "level"),
        ("log-sigma-3-0-mm-3D_glcm_Idm", "homogeneity"),
        ("original_glcm_Unheard", "other"),
    ],
)
def test_the_group_is_that_of_class_and_name_whatever_the_filter(feature: str, group: str) -> None:
    assert meaning_group(feature) == group


def test_no_two_groups_have_one_colour() -> None:
    colours = meaning_colours()
    assert set(colours) == set(feature_groups.feature_groups())
    assert len(set(colours.values())) == len(colours)


def read(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> object:
    (folder / "feature_groups.yaml").write_text(text)
    monkeypatch.setattr(registry, "CONFIG_DIR", folder)
    return feature_groups.feature_groups.__wrapped__()


def test_a_feature_in_two_groups_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: {title: A, kind: size, features: [glcm_Id]}\nb: {title: B, kind: shape, features: [glcm_Id]}\n"
    with pytest.raises(UserError, match=r"glcm_Id in two groups"):
        read(tmp_path, text, monkeypatch)


def test_a_kind_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"a\.kind: Input should be 'size', 'shape', 'intensity' or 'texture'"):
        read(tmp_path, "a: {title: A, kind: colour, features: []}\n", monkeypatch)
