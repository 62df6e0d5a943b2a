"""What probabilities tell of masks: measures worked out by hand, and the predictor beside nnU-Net's own."""

import itertools
import json
import sys
from math import isnan, log2
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_export_model import network_of, tiny_dataset, tiny_plans

from glioflow.files import read_table, write_json
from glioflow.imaging.labels import REGIONS
from glioflow.models import uncertainty as records
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


# ---- the records


def test_the_two_sides_name_the_same_things(tmp_path):
    assert (module.RECORD, module.MEASURES) == (records.RECORD, records.MEASURES)
    told = environment(ModelFolders("m", tmp_path), 1, "cpu")[module.REGIONS_VARIABLE]
    assert {name: tuple(labels) for name, labels in json.loads(told).items()} == REGIONS
    assert (TRAINERS / "glioflow_uncertainty.py").exists()


def test_a_set_has_a_row_a_region_and_one_with_the_reason_where_nothing_is_known(tmp_path):
    own = dict.fromkeys(records.MEASURES, 0.5) | {"fold_dice": None}
    write_json(tmp_path / "b.uncertainty.json", {"networks": 1, "regions": {"WT": own, "TC": own}})
    rows = [row for case in "ba" for row in records.record_rows(case, False, records.read_record(tmp_path, case))]
    records.write_records(tmp_path / "uncertainty.csv", rows)
    table = read_table(tmp_path / "uncertainty.csv")
    assert table["case_id"].tolist() == ["a", "b", "b"]
    assert table["region"].tolist()[1:] == ["WT", "TC"] and pd.isna(table["region"][0])
    assert table["note"][0] == records.NO_RECORD and table["note"][1:].isna().all()
    assert table["expected_dice"].tolist()[1:] == [0.5, 0.5] and table["fold_dice"].isna().all()


def test_nnunets_own_command_predicts_with_it(monkeypatch):
    from nnunetv2.inference import predict_from_raw_data

    from glioflow.models.nnunet import predict

    monkeypatch.setattr(sys, "argv", ["predict.py"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(predict_from_raw_data, "nnUNetPredictor", predict_from_raw_data.nnUNetPredictor)
    seen = []
    monkeypatch.setattr(
        predict_from_raw_data, "predict_entry_point", lambda: seen.append((sys.argv, predict_from_raw_data.nnUNetPredictor))
    )
    predict.main("nnUNetv2_predict", "-i", "here")
    ((arguments, kind),) = seen
    assert arguments == ["nnUNetv2_predict", "-i", "here"]
    assert kind.__name__ == "MeasuringPredictor"
