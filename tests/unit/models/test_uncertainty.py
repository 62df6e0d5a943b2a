"""What probabilities tell of masks: measures worked out by hand, and the predictor beside nnU-Net's own."""

import importlib
import itertools
import json
import multiprocessing
import subprocess
import sys
from math import isnan, log2
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import save
from test_export_model import network_of, tiny_dataset, tiny_plans

from glioflow.bundle.nifti import clean_copy
from glioflow.files import read_table, sha256_file, write_json
from glioflow.imaging.labels import REGIONS
from glioflow.imaging.volumes import read_volume, same_geometry
from glioflow.models import uncertainty as records
from glioflow.models.model_archive import READERS
from glioflow.models.nnunet.commands import TRAINERS, ModelFolders, environment
from glioflow.models.nnunet.trainers import glioflow_uncertainty as module

SHAPE = (11, 8, 6)  # windows that overlap along one axis, and padding along another

VOXEL = 0.005  # nnU-Net keeps logits in half precision, in which a voxel of some hundreds may be on the other side of 0.5


# ---- the measures


def test_expected_dice_is_the_dice_where_probabilities_are_certain():
    p, s = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([True, False, True, False])
    assert module.expected_dice(p, s, 2) == pytest.approx(0.5)
    assert module.expected_dice(torch.tensor([0.9, 0.6]), torch.tensor([True, True]), 1.8) == pytest.approx(3 / 3.8)
    assert module.expected_dice(torch.tensor([0.4, 0.0]), torch.tensor([False, False]), 0.4) == 0
    assert isnan(module.expected_dice(torch.zeros(3), torch.zeros(3, dtype=torch.bool), 0))


def test_entropy_is_in_bits_and_nothing_where_a_probability_is_certain():
    found = module.binary_entropy(torch.tensor([0.0, 0.5, 1.0, 0.25]))
    assert found.tolist() == pytest.approx([0, 1, 0, -(0.25 * log2(0.25) + 0.75 * log2(0.75))])


def test_members_that_agree_tell_nothing_and_certain_ones_that_differ_a_bit():
    assert module.mutual_information(torch.tensor([[0.3, 0.9], [0.3, 0.9]])).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert module.mutual_information(torch.tensor([[0.0], [1.0]])).tolist() == pytest.approx([1])


def test_pairwise_dice_is_the_mean_over_all_pairs():
    a, b, c = [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]
    masks = torch.tensor([a, b, c], dtype=torch.bool)
    assert module.pairwise_dice(masks) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert module.pairwise_dice(torch.tensor([a, c, c], dtype=torch.bool)) == pytest.approx(1 / 3)  # two empty ones agree
    assert isnan(module.pairwise_dice(torch.tensor([c, c], dtype=torch.bool)))
    assert isnan(module.pairwise_dice(torch.tensor([a], dtype=torch.bool)))


def test_the_box_of_nothing_is_empty():
    mask = torch.zeros((4, 5, 6), dtype=torch.bool)
    assert mask[module.bounding_box(mask)].numel() == 0
    mask[1, 2, 3] = mask[2, 2, 5] = True
    assert module.bounding_box(mask) == (slice(1, 3), slice(2, 3), slice(3, 6))


# ---- the predictor


def predictor_of(kind: Any, dataset: dict[str, Any], networks: list[torch.nn.Module], mirrored: bool) -> Any:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    made = kind(use_mirroring=mirrored, device=torch.device("cpu"), allow_tqdm=False)
    plans = PlansManager(tiny_plans())
    weights = [network.state_dict() for network in networks]
    network = network_of(tiny_plans(), len(networks[0](torch.zeros(1, 2, 8, 8, 8))[0]), deep_supervision=False).eval()
    made.manual_initialization(network, plans, plans.get_configuration("3d_fullres"), weights, dataset, "", (0, 1, 2))
    return made


def networks_of(number: int, outputs: int) -> list[torch.nn.Module]:
    """Networks that are not sure of anything, and see regions in some places."""
    made = []
    for seed in range(number):
        torch.manual_seed(seed)
        network = network_of(tiny_plans(), outputs, deep_supervision=False).eval()
        with torch.no_grad():
            network.decoder.seg_layers[-1].weight *= 4
        made.append(network)
    return made


def entropy(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(float), 1e-12, 1 - 1e-12)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0


class ByHand:
    """The measures of a case, from whole arrays and nnU-Net's own predictor, one member after the other."""

    def __init__(self, dataset: dict[str, Any], networks: list[torch.nn.Module], image: torch.Tensor, outputs: int) -> None:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        self.dataset, self.networks, self.image, self.kind = dataset, networks, image, nnUNetPredictor
        self.by_region = outputs == 3

    def logits(self, network: torch.nn.Module, axes: tuple[int, ...] = (), mirrored: bool = False) -> np.ndarray:
        """A mirroring of whole windows is that of the network's input: so a network that mirrors stands for it."""
        predictor = predictor_of(self.kind, self.dataset, [network], mirrored)
        predictor.network.load_state_dict(network.state_dict())
        if axes:
            predictor.network = _Mirrored(predictor.network, axes)
        return predictor.predict_sliding_window_return_logits(self.image).numpy().astype(np.float32)

    def regions(self, logits: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return probabilities and masks by region."""
        if self.by_region:
            p = 1 / (1 + np.exp(-logits))
            labels = np.zeros(p.shape[1:], int)
            for place, value in enumerate((2, 1, 3)):
                labels[p[place] > 0.5] = value
            own = dict(zip(("WT", "TC", "ET"), p, strict=True))
        else:
            p = np.exp(logits - logits.max(0))
            p /= p.sum(0)
            labels = p.argmax(0)
            own = {name: p[list(values)].sum(0) for name, values in REGIONS.items() if name != "RC"}
        return own, {name: np.isin(labels, REGIONS[name]) for name in own}

    def measures(self, mirrored: bool) -> dict[str, dict[str, float | None]]:
        each = [self.logits(network, mirrored=mirrored) for network in self.networks]
        p, s = self.regions(np.mean([part.astype(np.float16) for part in each], axis=0, dtype=np.float32))
        combinations = [axes for n in range(4) for axes in itertools.combinations((2, 3, 4), n)]
        found: dict[str, dict[str, float | None]] = {}
        members = [
            [self.regions(self.logits(network, axes)) for axes in combinations] if mirrored else [] for network in self.networks
        ]
        folds = [self.regions(part) for part in each]
        for name in p:
            where = (p[name] >= 0.05) | s[name]
            information, agreement = [], []
            for fold, own in zip(folds, members, strict=True):
                at = (fold[0][name] >= 0.05) | fold[1][name]
                stack = np.stack([one[0][name] for one in own]) if mirrored else np.zeros((0,))
                if mirrored and at.any():
                    information.append((entropy(stack.mean(0)) - entropy(stack).mean(0))[at].mean())
                    if any(one[1][name].any() for one in own):
                        pairs = itertools.combinations([one[1][name] for one in own], 2)
                        agreement.append(np.mean([dice(a, b) for a, b in pairs]))
            if not mirrored and len(folds) > 1:
                stack = np.stack([fold[0][name] for fold in folds])
                information.append((entropy(stack.mean(0)) - entropy(stack).mean(0))[where].mean())
            seen = any(fold[1][name].any() for fold in folds)
            pairs = list(itertools.combinations([fold[1][name] for fold in folds], 2)) if seen else []
            found[name] = {
                "expected_dice": 2 * (p[name] * s[name]).sum() / (p[name].sum() + s[name].sum()),
                "entropy_mean": entropy(p[name])[where].mean(),
                "mutual_information_mean": np.mean(information) if information else None,
                "mirror_dice": np.mean(agreement) if agreement else None,
                "fold_dice": np.mean([dice(a, b) for a, b in pairs]) if pairs else None,
            }
        return found


class _Mirrored(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.axes = network, axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flip(self.network(torch.flip(x, self.axes)), self.axes)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.load_state_dict(*args, **kwargs)


class Manager:
    """Of networks that predict WT, TC and ET, or background and three labels."""

    regions_class_order, all_labels = (2, 1, 3), (0, 1, 2, 3)

    def __init__(self, by_region: bool) -> None:
        self.has_regions = by_region

    def apply_inference_nonlin(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(logits) if self.has_regions else torch.softmax(logits, 0)


@pytest.mark.parametrize("by_region", [True, False])
def test_what_one_mirroring_alone_invents_counts(by_region: bool) -> None:
    """Eight members see a cube; one of them sees a second, which their mean makes less likely than ``LIKELY``."""
    shape = (6, 6, 10)
    cube, invented = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    cube[1:3, 1:3, 1:3] = True
    invented[1:3, 1:3, 6:8] = True
    members = torch.full((8, 3 if by_region else 4, *shape), -20.0)
    tumour = members[:, 0] if by_region else members[:, 3]
    tumour[:, cube] = 10.0
    if not by_region:
        members[:, 0][:, ~cube] = 0.0
    tumour[1:, invented], tumour[0, invented] = -4.5, 4.0
    heads = module.RegionHeads(Manager(by_region), {"WT": 1, "TC": 2, "ET": 3}, {name: REGIONS[name] for name in ("WT",)})
    mirrored = module.MirroredLogits(8, (members.shape[1], 8, 6, 12), torch.ones(shape), torch.device("cpu"))  # padded
    for number, logits in enumerate(members):
        mirrored.add(number, logits, (slice(None), slice(1, 7), slice(0, 6), slice(1, 11)))
    seen = module.SeenRegions(heads, members.mean(0))
    assert not invented.flatten()[seen.voxels].any()
    ((information, agreement),) = seen.compare(mirrored)
    masks = torch.stack([cube | invented, *[cube] * 7])
    assert agreement == pytest.approx(module.pairwise_dice(masks)) == pytest.approx((21 + 7 * 2 / 3) / 28)
    assert information == pytest.approx(0, abs=1e-6)  # of the voxels that the network's mean makes likely


def test_a_full_device_is_left_by_the_members_before_it_is_left_by_nnunet(tmp_path, monkeypatch):
    monkeypatch.setenv(module.REGIONS_VARIABLE, json.dumps(REGIONS))
    real, asked = module.nnUNetPredictor._internal_predict_sliding_window_return_logits, []

    def full_once(self, data, slicers, do_on_device=True):
        asked.append((do_on_device, self.mirrored.sums.device))
        if len(asked) == 1:
            next(self.windows)  # some windows are done before memory is short
            raise torch.OutOfMemoryError("no room")
        return real(self, data, slicers, do_on_device)

    networks, image = networks_of(1, 3), torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(7))
    found = []
    for number in range(2):
        measuring = predictor_of(module.MeasuringPredictor, tiny_dataset(), networks, True)
        measuring.waiting = iter([f"{tmp_path}/{number}"])
        measuring.perform_everything_on_device = True  # as on a GPU
        logits = measuring.predict_logits_from_preprocessed_data(image)
        found.append((logits, records.read_record(tmp_path, str(number))))
        if not number:
            monkeypatch.setattr(module.nnUNetPredictor, "_internal_predict_sliding_window_return_logits", full_once)
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert [on_device for on_device, _ in asked] == [True, True]


@pytest.mark.parametrize("outputs", [3, 4], ids=["regions", "labels"])
@pytest.mark.parametrize("mirrored", [True, False], ids=["mirrored", "plain"])
@pytest.mark.parametrize("folds", [1, 2])
def test_the_record_is_what_whole_arrays_give_and_the_logits_are_nnunets_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: int, mirrored: bool, folds: int
) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    monkeypatch.setenv(module.REGIONS_VARIABLE, json.dumps(REGIONS))
    dataset = tiny_dataset() if outputs == 3 else tiny_dataset(["NCR", "ED", "ET"])
    networks = networks_of(folds, outputs)
    image = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(7))
    measuring = predictor_of(module.MeasuringPredictor, dataset, networks, mirrored)
    measuring.waiting = iter([f"{tmp_path}/case"])
    logits = measuring.predict_logits_from_preprocessed_data(image)
    plain = predictor_of(nnUNetPredictor, dataset, networks, mirrored).predict_logits_from_preprocessed_data(image)
    assert torch.equal(logits, plain)
    record = records.read_record(tmp_path, "case")
    assert record is not None and record["networks"] == folds
    expected = ByHand(dataset, networks, image, outputs).measures(mirrored)
    assert list(record["regions"]) == list(expected)
    for name, values in expected.items():
        assert record["regions"][name] == pytest.approx(values, abs=VOXEL), name
    assert 0.05 < record["regions"]["WT"]["expected_dice"] < 1
    assert list(tmp_path.iterdir()) == [tmp_path / "case.uncertainty.json"]


def test_a_fold_that_validates_writes_the_record_of_the_case_that_is_due(tmp_path, monkeypatch):
    monkeypatch.setenv(module.REGIONS_VARIABLE, json.dumps(REGIONS))
    networks = networks_of(1, 3)
    measuring = predictor_of(module.MeasuringPredictor, tiny_dataset(), networks, True)
    measuring.list_of_parameters = None  # as nnU-Net's trainer leaves it
    measuring.network.load_state_dict(networks[0].state_dict())
    for case in ("a", "b"):
        measuring.target = f"{tmp_path}/{case}"
        image = torch.randn((2, 8, 6, 8), generator=torch.Generator().manual_seed(ord(case)))  # smaller than a patch
        measuring.predict_sliding_window_return_logits(image)
    first, second = (records.read_record(tmp_path, case) for case in ("a", "b"))
    assert first and second and first != second
    assert all(own["fold_dice"] is None and own["mirror_dice"] is not None for own in first["regions"].values())


def test_records_follow_the_cases_that_other_processes_prepare(monkeypatch):
    monkeypatch.setenv(module.REGIONS_VARIABLE, json.dumps(REGIONS))
    seen = []

    def predict(predictor: Any, iterator: Any) -> None:
        for prepared in iterator:
            seen.append((prepared["ofile"], next(predictor.waiting)))

    monkeypatch.setattr(module.nnUNetPredictor, "predict_from_data_iterator", predict)
    predictor = module.MeasuringPredictor(device=torch.device("cpu"))
    predictor.predict_from_data_iterator({"ofile": name} for name in "cab")
    assert seen == [("c", "c"), ("a", "a"), ("b", "b")]


# ---- the map


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.REGIONS_VARIABLE, json.dumps(REGIONS))


def heads_of(by_region: bool) -> Any:
    names = {"WT": 1, "TC": 2, "ET": 3} if by_region else {"NCR": 1, "ED": 2, "ET": 3}
    return module.RegionHeads(Manager(by_region), names, REGIONS)


def test_a_voxel_has_the_entropy_of_the_region_that_is_least_sure() -> None:
    """A probability of 1/4 has 0.811 bit, which is 206.9 of 255; 0.002 has 0.0208 bit; 0.001 has 0.0114, which is faint."""
    sure = [1e-9, 1e-9, 1e-9]
    probabilities = [[0.5, 1e-9, 1e-9], [1 - 1e-7, 0.75, 1e-9], [0.002, 0.001, 1e-9], [0.001, 0.001, 0.001], sure]
    p = torch.tensor(probabilities, dtype=torch.float64).T[:, :, None, None]
    found = module.entropy_map(torch.log(p / (1 - p)), heads_of(by_region=True))
    assert found.dtype == np.uint8 and found.flatten().tolist() == [255, 207, 5, 0, 0]


def test_of_a_network_of_labels_a_region_has_the_sum_of_its_labels() -> None:
    """Background, NCR, ED, ET: a tumour that is sure of itself but not of its labels, one not sure of itself, and none."""
    probabilities = [[0.0, 0.25, 0.0, 0.75], [0.25, 0.75, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    p = torch.tensor(probabilities).T[:, :, None, None]
    found = module.entropy_map(torch.log(p.clamp(min=1e-9)), heads_of(by_region=False))
    assert found.flatten().tolist() == [207, 207, 0]


def test_slabs_make_the_map_that_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn((3, 7, 5, 4), generator=torch.Generator().manual_seed(1)).half()
    whole = module.entropy_map(logits.numpy(), heads_of(by_region=True))
    monkeypatch.setattr(module, "SLAB_VOXELS", 45)
    assert np.array_equal(module.entropy_map(logits, heads_of(by_region=True)), whole) and len(np.unique(whole)) > 20


class Exported:
    """An image with a border that is cropped, of another spacing than the network's, with axes in another order."""

    def __init__(self, folder: Path, reader: str, by_region: bool) -> None:
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        affine = np.array([[-1.25, 0, 0, 90], [0, 1.25, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
        save(folder / "image.nii.gz", np.ones((9, 10, 11), np.int16), affine)
        plans = tiny_plans() | {"image_reader_writer": reader, "transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
        self.folder, self.plans = folder, PlansManager(plans)
        self.configuration = self.plans.get_configuration("3d_fullres")
        self.dataset = tiny_dataset() if by_region else tiny_dataset(["NCR", "ED", "ET"])
        data, properties = self.plans.image_reader_writer_class().read_images([str(folder / "image.nii.gz")])
        shape = [data.shape[1 + axis] for axis in (2, 0, 1)]
        self.properties = properties | {
            "shape_before_cropping": tuple(shape),
            "bbox_used_for_cropping": [[1, shape[0] - 1], [2, shape[1]], [0, shape[2] - 2]],
            "shape_after_cropping_and_before_resampling": tuple(size - 2 for size in shape),
        }
        size = (3 if by_region else 4, *(size + 3 for size in shape))
        self.logits = 4 * torch.randn(size, generator=torch.Generator().manual_seed(3))

    def export(self, function: Any, case: str, record: bool = True) -> Path:
        if record:
            write_json(self.folder / f"{case}.uncertainty.json", {})
        target = str(self.folder / case)
        function(self.logits.clone(), self.properties, self.configuration, self.plans, self.dataset, target, False, 1)
        return self.folder / f"{case}.nii.gz"

    def bits(self) -> np.ndarray:
        """The map from nnU-Net's own probabilities on the grid of the mask, region by region; in the order of its reader."""
        labels = self.plans.get_label_manager(self.dataset)
        _, p = module_of_export().convert_predicted_logits_to_segmentation_with_correct_shape(
            *(self.logits.clone(), self.plans, self.configuration, labels, self.properties, True, 1)
        )
        if not labels.has_regions:
            p = np.stack([p[[label for label in values if label < 4]].sum(0) for values in REGIONS.values() if values != (4,)])
            p[:, ~self.inside()] = 0
        return np.max(entropy(p), axis=0)

    def inside(self) -> np.ndarray:
        found = np.zeros(self.properties["shape_before_cropping"], bool)
        found[tuple(slice(*ends) for ends in self.properties["bbox_used_for_cropping"])] = True
        return found.transpose(1, 2, 0)


def module_of_export() -> Any:
    from nnunetv2.inference import export_prediction

    return export_prediction


@pytest.mark.usefixtures("regions")
@pytest.mark.parametrize("by_region", [True, False], ids=["regions", "labels"])
@pytest.mark.parametrize("reader", sorted(READERS))
def test_the_map_is_of_the_probabilities_of_the_mask_and_on_its_grid(tmp_path: Path, reader: str, by_region: bool) -> None:
    exported = Exported(tmp_path, reader, by_region)
    plain = exported.export(module_of_export().export_prediction_from_logits, "plain")
    mask = exported.export(module.export_with_map, "case")
    assert mask.read_bytes() == plain.read_bytes()
    written, found = read_volume(records.map_path(mask)), read_volume(mask)
    assert same_geometry(written, found)
    by_hand = exported.bits()  # z, y, x as read; turned as the reader turns images
    volume = tmp_path / "by_hand.nii.gz"
    exported.plans.image_reader_writer_class().write_seg(np.round(254 * by_hand), str(volume), exported.properties)
    expected = read_volume(volume).data / 254
    assert np.abs(written.data - np.where(expected < 4.5 / 255, 0, expected)).max() < 0.006
    assert written.data.max() > 0.99 and (written.data == 0).any()
    assert [path.name for path in (tmp_path / "entropy").iterdir()] == ["case.nii.gz"], "the plain export makes none"


@pytest.mark.usefixtures("regions")
def test_the_same_map_has_the_same_bytes_here_and_in_a_bundle(tmp_path: Path) -> None:
    exported = Exported(tmp_path, "SimpleITKIO", True)
    first, second = (records.map_path(exported.export(module.export_with_map, case)) for case in "ab")
    clean_copy(first, tmp_path / "clean.nii.gz")
    assert first.read_bytes() == second.read_bytes() == (tmp_path / "clean.nii.gz").read_bytes()
    stored = nib.load(first)
    assert stored.get_data_dtype() == np.uint8 and np.asarray(stored.dataobj.get_unscaled()).max() == 255


@pytest.mark.usefixtures("regions")
def test_a_mask_without_a_record_gets_no_map(tmp_path: Path) -> None:
    mask = Exported(tmp_path, "SimpleITKIO", True).export(module.export_with_map, "case", record=False)
    assert mask.exists() and not (tmp_path / "entropy").exists()


@pytest.mark.usefixtures("regions")
def test_the_mask_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    real, there = SimpleITKIO.write_seg, []

    def killed(self: Any, seg: Any, name: str, properties: Any) -> None:
        there.append((Path(name).name, records.map_path(tmp_path / "case.nii.gz").exists()))
        if len(there) == 2:
            raise KeyboardInterrupt
        real(self, seg, name, properties)

    exported = Exported(tmp_path, "SimpleITKIO", True)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SimpleITKIO, "write_seg", killed)
        exported.export(module.export_with_map, "case")
    assert there == [("case.nii.gz.placed.nii", False), ("case.nii.gz", True)]
    assert not (tmp_path / "case.nii.gz").exists()
    before = records.map_path(tmp_path / "case.nii.gz").read_bytes()
    mask = exported.export(module.export_with_map, "case")
    assert mask.exists() and records.map_path(mask).read_bytes() == before, "the next run makes both"


@pytest.mark.usefixtures("regions")
def test_a_process_of_its_own_writes_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nnU-Net exports while a GPU goes on."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(TRAINERS)])
    function = importlib.import_module("glioflow_uncertainty").export_with_map
    exported = Exported(tmp_path, "SimpleITKIO", True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        mask = exported.export(lambda *arguments: pool.apply(function, arguments), "case")
    assert mask.exists() and records.map_path(mask).exists()


def test_a_map_goes_where_its_mask_goes_and_none_stays_of_another_mask(tmp_path: Path) -> None:
    source, target = tmp_path / "validation/a.nii.gz", tmp_path / "cv/a.nii.gz"
    assert records.place_map(source, target) is None
    records.map_path(source).parent.mkdir(parents=True)
    records.map_path(source).write_bytes(b"map")
    assert records.place_map(source, target) == sha256_file(tmp_path / "cv/entropy/a.nii.gz")
    records.map_path(source).unlink()
    assert records.map_path(target).exists()
    assert records.place_map(source, target) is None
    assert not records.map_path(target).exists()


# ---- the records


def test_the_two_sides_name_the_same_things(tmp_path):
    assert (module.RECORD, module.MAPS, module.MEASURES) == (records.RECORD, records.MAPS, records.MEASURES)
    told = environment(ModelFolders("m", tmp_path), 1, "cpu")[module.REGIONS_VARIABLE]
    assert {name: tuple(labels) for name, labels in json.loads(told).items()} == REGIONS
    assert (TRAINERS / "glioflow_uncertainty.py").exists()


def test_a_set_has_a_row_a_region_and_one_with_the_reason_where_nothing_is_known(tmp_path):
    own = dict.fromkeys(records.MEASURES, 0.5) | {"fold_dice": None}
    write_json(tmp_path / "b.uncertainty.json", {"networks": 1, "regions": {"WT": own, "TC": own}})
    known = {case: records.read_record(tmp_path, case) for case in "ba"}
    rows = [
        row for case, record in known.items() for row in records.record_rows(case, False, record, "0a1" if record else None)
    ]
    records.write_records(tmp_path / "uncertainty.csv", rows)
    table = read_table(tmp_path / "uncertainty.csv")
    assert table["case_id"].tolist() == ["a", "b", "b"]
    assert table["region"].tolist()[1:] == ["WT", "TC"] and pd.isna(table["region"][0])
    assert table["note"][0] == records.NO_RECORD and table["note"][1:].isna().all()
    assert table["expected_dice"].tolist()[1:] == [0.5, 0.5] and table["fold_dice"].isna().all()
    assert records.map_hashes(tmp_path / "uncertainty.csv") == {("b", False): "0a1"}


def test_a_table_of_an_older_glioflow_tells_of_no_map(tmp_path):
    assert records.map_hashes(tmp_path / "uncertainty.csv") == {}
    (tmp_path / "uncertainty.csv").write_text("case_id,tta,region,note\na,True,WT,\n")
    assert records.map_hashes(tmp_path / "uncertainty.csv") == {}


def test_nnunets_own_command_predicts_with_it(monkeypatch):
    from nnunetv2.inference import predict_from_raw_data

    from glioflow.models.nnunet import predict

    monkeypatch.setattr(sys, "argv", ["predict.py"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(predict_from_raw_data, "nnUNetPredictor", predict_from_raw_data.nnUNetPredictor)
    exporting = predict_from_raw_data.export_prediction_from_logits
    monkeypatch.setattr(predict_from_raw_data, "export_prediction_from_logits", exporting)
    seen = []

    def entry() -> None:
        seen.append((sys.argv, predict_from_raw_data.nnUNetPredictor, predict_from_raw_data.export_prediction_from_logits))

    monkeypatch.setattr(predict_from_raw_data, "predict_entry_point", entry)
    predict.main("nnUNetv2_predict", "-i", "here")
    ((arguments, kind, export),) = seen
    assert arguments == ["nnUNetv2_predict", "-i", "here"]
    assert (kind.__name__, export.__name__) == ("MeasuringPredictor", "export_with_map")


FOUND_BY_NNUNET = """
import pickle, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
trainer = object.__new__(recursive_find_trainer_class_by_name("GlioflowTrainer"))
assert "glioflow_uncertainty" not in sys.modules, "nnU-Net forgets what it found"
with trainer.measuring():
    export = sys.modules["nnunetv2.training.nnUNetTrainer.nnUNetTrainer"].export_prediction_from_logits
    assert export.__name__ == "export_with_map"
    assert pickle.loads(pickle.dumps(export)) is export
"""


def test_a_process_of_validations_own_can_be_told_to_export_with_a_map(tmp_path):
    env = environment(ModelFolders("m", tmp_path), 2, "cpu")
    done = subprocess.run([sys.executable, "-c", FOUND_BY_NNUNET], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
