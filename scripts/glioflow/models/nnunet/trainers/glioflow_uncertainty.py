"""What a network's probabilities tell of the quality of its mask, measured where they are made, before they are dropped.

``MeasuringPredictor`` predicts as nnU-Net's own predictor does, to the bit, and writes a small record beside every mask. All
measures are on the network's grid: the image as it is cropped and resampled for the network. ``export_with_map`` writes the
mask as nnU-Net does, and before it a map of entropy on the mask's own grid. This module imports what nnU-Net's own environment
has, as its folder does.

p: probability of a region, s: its mask, both arrays of one shape. The measures of a region are

- ``expected_dice``: 2 Σ p·s / (Σ p + Σ s), the Dice that the mask would have if the probabilities were right.
- ``entropy_mean``: binary entropy of p in bits, its mean over the voxels of the mask and those with p of at least ``LIKELY``.
- ``mutual_information_mean``: entropy of the members' mean less the mean of the members' entropies (Houlsby et al. 2011,
  arXiv:1112.5745), the same mean. Members are the mirrorings of a network (the mean over the networks is told), without
  mirroring the networks of several folds.
- ``mirror_dice``: mean Dice of two mirrorings' masks over all pairs, the mean over the networks.
- ``fold_dice``: mean Dice of two folds' masks over all pairs.

The map has in each voxel the largest binary entropy of all regions of the network, of the probabilities that the mask is made
of: 1 bit where that of some region is 0.5, 0 where all are sure. It has 8 bits a voxel, 255 for 1 bit, which its header scales
to bits; what is less than ``FAINT`` of them is 0, so that it packs well.
"""

import gzip
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan, log, nan, prod
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from numpy.typing import NDArray

_Predictor: Any = object if TYPE_CHECKING else nnUNetPredictor

RECORD = ".uncertainty.json"  # what the record of a mask is called, after the case
MAPS = "entropy"  # the folder of the maps, beside the masks, which they are called after
REGIONS_VARIABLE = "GLIOFLOW_REGIONS"  # JSON: the labels of each region
LIKELY = 0.05
BIT = 255  # of a map: 1 bit
FAINT = 5  # of a map: 0.02 bit, the entropy of a probability of 0.002
SLAB_VOXELS = 2**22  # of which a map is made at once
NIFTI_BYTES = 352  # of a header and the mark that no extension follows
FREE_TEXT = ("descrip", "aux_file", "intent_name", "db_name", "data_type")  # of a header; a map has none, as in a bundle
COMPRESSION = 6  # zlib's level, that of a bundle's images
MEASURES = ("expected_dice", "entropy_mean", "mutual_information_mean", "mirror_dice", "fold_dice")

Box = tuple[slice, ...]
Sums = dict[str, list[float]]


def expected_dice(p: torch.Tensor, s: torch.Tensor, total: float) -> float:
    """Return 2 Σ p·s / (Σ p + Σ s); NaN where both are empty. ``total``: Σ p, which may be of more voxels than are given."""
    both = total + float(s.sum())
    return 2 * float(p[s].sum(dtype=torch.float64)) / both if both else nan


def binary_entropy(p: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each probability in bits, from 0 to 1."""
    return (torch.special.entr(p) + torch.special.entr(1 - p)) / log(2)


def mutual_information(members: torch.Tensor) -> torch.Tensor:
    """Return how far members (members, …) disagree, a value a voxel, in bits."""
    return (binary_entropy(members.mean(0)) - binary_entropy(members).mean(0)).clamp(min=0)


def pairwise_dice(masks: torch.Tensor) -> float:
    """Return the mean Dice of every two of bool masks (members, …); two empty ones agree. NaN where all are empty."""
    flat = masks.flatten(1).double()
    if len(flat) < 2 or not flat.any():
        return nan
    common, sizes = flat @ flat.T, flat.sum(1)
    values = []
    for a, b in itertools.combinations(range(len(flat)), 2):
        both = float(sizes[a] + sizes[b])
        values.append(2 * float(common[a, b]) / both if both else 1.0)
    return sum(values) / len(values)


def mean_where(values: torch.Tensor, where: torch.Tensor) -> float:
    """Return the mean of the values where a mask is; NaN where it is empty."""
    return float(values[where].mean(dtype=torch.float64)) if where.any() else nan


def defined_mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN without any."""
    known = [value for value in values if not isnan(value)]
    return sum(known) / len(known) if known else nan


def bounding_box(mask: torch.Tensor) -> Box:
    """Return the smallest box around a bool mask, one slice an axis; empty slices where there is none."""
    found = []
    for axis in range(mask.ndim):
        at = mask.any(dim=tuple(other for other in range(mask.ndim) if other != axis)).nonzero().flatten()
        found.append(slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0))
    return tuple(found)


class RegionHeads:
    """Which outputs of a network are which region.

    ``labels``: those of dataset.json. ``regions``: the labels of every region. A network of labels shows all regions that it
    has a label of, a network of regions those that it was trained on.
    """

    def __init__(self, manager: Any, labels: Mapping[str, Any], regions: Mapping[str, Sequence[int]]) -> None:
        self.manager = manager
        known = set(manager.all_labels) - {0}
        if manager.has_regions:
            names = [name for name in labels if name not in ("background", "ignore")]
            self.heads = {name: [place] for place, name in enumerate(names) if name in regions}
        else:
            own = {name: [label for label in values if label in known] for name, values in regions.items()}
            self.heads = {name: heads for name, heads in own.items() if heads}
        self.labels = {name: list(regions[name]) for name in self.heads}

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the probabilities (heads, …) of logits (heads, …), in single precision."""
        return self.manager.apply_inference_nonlin(logits)

    def of_regions(self, probabilities: torch.Tensor) -> list[torch.Tensor]:
        """Return the probabilities (…) of each region, of those of the outputs (heads, …)."""
        return [
            probabilities[heads[0]] if len(heads) == 1 else probabilities[heads].sum(0).clamp(max=1)
            for heads in self.heads.values()
        ]

    def masks(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Return the bool masks (regions, …) that nnU-Net makes of probabilities (heads, …)."""
        if self.manager.has_regions:
            labels = torch.zeros(probabilities.shape[1:], dtype=torch.int16, device=probabilities.device)
            for place, label in enumerate(self.manager.regions_class_order):
                labels[probabilities[place] > 0.5] = label
        else:
            labels = probabilities.argmax(0)
        found = torch.zeros((len(self.heads), *labels.shape), dtype=torch.bool, device=labels.device)
        for place, values in enumerate(self.labels.values()):
            for value in values:
                found[place] |= labels == value
        return found


class SeenRegions:
    """What logits (heads, …) say of the regions in the few voxels that matter: where any is as probable as ``LIKELY``.

    The network's mask does not reach beyond them. ``voxels``: their numbers in the image; ``p``, ``s``, ``likely``: (regions,
    voxels), probability, mask, and where the region itself is in the mask or that probable; ``totals``: the sum of each
    probability over the image.
    """

    def __init__(self, heads: RegionHeads, logits: torch.Tensor) -> None:
        self.heads, self.shape = heads, logits.shape[1:]
        self.probabilities = heads.probabilities(logits).flatten(1)
        regions = heads.of_regions(self.probabilities)
        near = torch.zeros(regions[0].shape, dtype=torch.bool, device=logits.device)
        for region in regions:
            near |= region >= LIKELY
        self.voxels = near.nonzero().flatten()
        self.totals = [float(region.sum(dtype=torch.float64)) for region in regions]
        self.p = torch.stack([region[self.voxels] for region in regions])
        self.s = heads.masks(self.probabilities[:, self.voxels])
        self.likely = (self.p >= LIKELY) | self.s

    def whole_masks(self) -> torch.Tensor:
        """Return the masks (regions, …) of the whole image."""
        masks = torch.zeros((len(self.s), self.probabilities.shape[1]), dtype=torch.bool)
        masks[:, self.voxels.cpu()] = self.s.cpu()
        return masks.reshape(-1, *self.shape)

    def whole_probabilities(self) -> torch.Tensor:
        """Return the probabilities (regions, …) of the whole image in half precision."""
        return torch.stack(self.heads.of_regions(self.probabilities)).half().cpu().reshape(-1, *self.shape)

    def compare(self, mirrored: "MirroredLogits") -> list[tuple[float, float]]:
        """Return mutual information and pairwise Dice of the mirrorings, by region.

        A mirroring's mask may have voxels in which their mean makes no region likely: they are added to those that are seen.
        """
        marked = mirrored.marked(self.shape, self.heads.manager.has_regions).to(self.voxels.device).flatten()
        marked[self.voxels] = False
        voxels = torch.cat([self.voxels, marked.nonzero().flatten()])
        probabilities = self.heads.probabilities(mirrored.at(self.shape, voxels).transpose(0, 1)).to(self.p.device)
        own, found, seen = self.heads.of_regions(probabilities), self.heads.masks(probabilities), len(self.voxels)
        return [
            (mean_where(mutual_information(p[:, :seen]), likely), pairwise_dice(s))
            for p, s, likely in zip(own, found, self.likely, strict=True)
        ]


class MirroredLogits:
    """The logits of every mirroring of one network, gathered from the windows that slide over an image."""

    def __init__(self, members: int, shape: Sequence[int], gaussian: torch.Tensor, device: torch.device) -> None:
        kind = torch.half if device.type == "cuda" else torch.float32
        self.gaussian = gaussian.to(kind)
        self.sums = torch.zeros((members, *shape), dtype=kind, device=device)
        self.weights = torch.zeros(tuple(shape[1:]), dtype=kind, device=device)

    def add(self, member: int, logits: torch.Tensor, window: Box) -> None:
        """Add the logits (heads, …) of a window."""
        place = self.sums[member][window]
        place.addcmul_(logits.to(place), self.gaussian)
        if member == 0:
            self.weights[window[1:]] += self.gaussian

    def marked(self, shape: Sequence[int], by_region: bool) -> torch.Tensor:
        """Tell of each voxel of the image whether any member's mask has a label there, a bool array of ``shape``.

        Weights are above 0, so that sums have the sign and the order of the logits. ``by_region``: a head is a region, which
        has the voxels with logits above 0; otherwise the first head is the background.
        """
        inner = tuple(slice(shift, shift + own) for shift, own in zip(self._shifts(shape), shape, strict=True))
        found = torch.zeros(tuple(shape), dtype=torch.bool, device=self.sums.device)
        for member in self.sums:
            heads = member[(slice(None), *inner)]
            for head in heads if by_region else heads[1:]:
                found |= head > (0 if by_region else heads[0])
        return found

    def at(self, shape: Sequence[int], voxels: torch.Tensor) -> torch.Tensor:
        """Return the logits (members, heads, voxels), of the numbers of voxels in the image, of which this is padded."""
        place = torch.unravel_index(voxels.to(self.weights.device), tuple(shape))
        place = tuple(axis + shift for axis, shift in zip(place, self._shifts(shape), strict=True))
        return self.sums[(slice(None), slice(None), *place)].float() / self.weights[place].float()

    def _shifts(self, shape: Sequence[int]) -> list[int]:
        """Return where an image begins in what it is padded to, per axis."""
        return [(size - own) // 2 for size, own in zip(self.weights.shape, shape, strict=True)]


class MeasuringPredictor(_Predictor):  # type: ignore[misc]
    """nnU-Net's predictor, with a record beside every mask. ``target``: the path of the mask that is due, without ending."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target: str | None = None
        self.regions = known_regions()
        self.waiting: Iterator[str] = iter(())
        self.mirrored: MirroredLogits | None = None
        self.windows: Iterator[Box] = iter(())
        self.networks: list[dict[str, Any]] = []

    # ---- whose image is predicted

    def _manage_input_and_output_lists(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._manage_input_and_output_lists(*args, **kwargs)
        self.waiting = iter(found[1] or ())  # the order in which they are predicted one after the other
        return found

    def predict_from_data_iterator(self, data_iterator: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict what an iterator gives; other processes prepare it."""
        order: list[str] = []
        self.waiting = _taken(order)

        def noted() -> Iterator[Any]:
            for prepared in data_iterator:
                order.append(prepared["ofile"])
                yield prepared

        return super().predict_from_data_iterator(noted(), *args, **kwargs)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Return the mean logits of all folds, and write the record of the mask."""
        self.target = next(self.waiting)
        logits = super().predict_logits_from_preprocessed_data(data)
        self.finish(logits.to(self.device))
        return logits

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """Return the logits of one network; while a fold validates, write the record of the mask."""
        logits = super().predict_sliding_window_return_logits(input_image)
        self.note_network(logits)
        if self.list_of_parameters is None:
            self.finish(logits)
        return logits

    # ---- the members

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _internal_predict_sliding_window_return_logits(self, data: Any, slicers: Any, do_on_device: bool = True) -> Any:
        try:
            return self._predict_windows(data, slicers, do_on_device, self.device if do_on_device else torch.device("cpu"))
        except RuntimeError:
            # nnU-Net would go on without the device. It shall do so only where it would have done so without these logits.
            if not do_on_device or not self.combinations():
                raise
            self.mirrored = None
        return self._predict_windows(data, slicers, do_on_device, torch.device("cpu"))

    def _predict_windows(self, data: Any, slicers: Any, do_on_device: bool, device: torch.device) -> Any:
        """Predict as nnU-Net does, with the logits of the members on ``device``."""
        self.mirrored = None
        if self.combinations():
            heads, size = self.label_manager.num_segmentation_heads, tuple(self.configuration_manager.patch_size)
            gaussian = compute_gaussian(size, sigma_scale=1.0 / 8, value_scaling_factor=10, device=device)
            self.mirrored = MirroredLogits(1 + len(self.combinations()), (heads, *data.shape[1:]), gaussian, device)
        self.windows = iter(slicers)
        return super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)

    def combinations(self) -> list[tuple[int, ...]]:
        """Return the axes of each mirroring, as nnU-Net goes through them; nothing where nothing is mirrored."""
        allowed = [axis + 2 for axis in self.allowed_mirroring_axes or ()] if self.use_mirroring else []
        return [axes for number in range(len(allowed)) for axes in itertools.combinations(allowed, number + 1)]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
        # nnU-Net's own steps in their order, since the mean must be the same to the bit.
        if self.mirrored is None:
            return super()._internal_maybe_mirror_and_predict(x)
        window, combinations = next(self.windows), self.combinations()
        prediction = self.network(x)
        self.mirrored.add(0, prediction[0], window)
        for number, axes in enumerate(combinations, start=1):
            member = torch.flip(self.network(torch.flip(x, axes)), axes)
            self.mirrored.add(number, member[0], window)
            prediction += member
        prediction /= len(combinations) + 1
        return prediction

    # ---- the measures

    def note_network(self, logits: torch.Tensor) -> None:
        """Keep what one network says of the regions: logits (heads, …) on its grid."""
        several = len(self.list_of_parameters or ()) > 1
        noted: dict[str, Any] = {}
        if several or self.mirrored is not None:
            seen = SeenRegions(self.region_heads(), logits)
            if several:
                noted |= {"masks": seen.whole_masks(), "regions": None if self.mirrored else seen.whole_probabilities()}
            if self.mirrored is not None:
                noted["mirrored"] = seen.compare(self.mirrored)
        self.mirrored = None
        self.networks.append(noted)

    def finish(self, logits: torch.Tensor) -> None:
        """Write the record of the mask that the logits (heads, …) become."""
        seen, networks, self.networks = SeenRegions(self.region_heads(), logits), self.networks, []
        mirrored = [noted["mirrored"] for noted in networks if "mirrored" in noted]
        folds = torch.stack([noted["masks"] for noted in networks], 1) if len(networks) > 1 else None
        several = torch.stack([n["regions"] for n in networks], 1) if folds is not None and not mirrored else None
        measured = {}
        for place, name in enumerate(seen.heads.heads):
            p, s, likely = seen.p[place], seen.s[place], seen.likely[place]
            information = defined_mean([own[place][0] for own in mirrored])
            if several is not None:
                own = several[place].flatten(1)[:, seen.voxels.cpu()].to(p.device).float()
                information = mean_where(mutual_information(own), likely)
            values = (
                expected_dice(p, s, seen.totals[place]),
                mean_where(binary_entropy(p), likely),
                information,
                defined_mean([own[place][1] for own in mirrored]),
                pairwise_dice(_inside(folds[place])) if folds is not None else nan,
            )
            measured[name] = {key: None if isnan(v) else v for key, v in zip(MEASURES, values, strict=True)}
        write_record(f"{self.target}{RECORD}", {"networks": len(networks), "regions": measured})

    def region_heads(self) -> RegionHeads:
        """Return which outputs are which region."""
        return RegionHeads(self.label_manager, self.dataset_json["labels"], self.regions)


def known_regions() -> dict[str, list[int]]:
    """Return the labels of every region, as the job tells them."""
    return {name: list(labels) for name, labels in json.loads(os.environ[REGIONS_VARIABLE]).items()}


def write_record(path: str, record: Mapping[str, Any]) -> None:
    """Write a record whole or not at all; the mask follows it, so that no mask is without one."""
    with open(f"{path}.writing", "w", encoding="utf-8") as stream:
        json.dump(record, stream)
    os.replace(f"{path}.writing", path)


# ---- the map


def export_with_map(
    logits: Any, properties: Any, configuration: Any, plans: Any, dataset: Any, target: str, *args: Any, **kwargs: Any
) -> None:
    """Export a mask as nnU-Net does, its entropy map before it; a mask without a record gets no map.

    The arguments are those of nnU-Net's ``export_prediction_from_logits``, which this takes the place of.
    """
    if os.path.exists(f"{target}{RECORD}"):  # noqa: PTH110
        heads = RegionHeads(plans.get_label_manager(dataset), dataset["labels"], known_regions())
        name = f"{os.path.basename(target)}{dataset['file_ending']}"  # noqa: PTH119
        path = os.path.join(os.path.dirname(target), MAPS, name)  # noqa: PTH118, PTH120
        configuration = _Noting(configuration, lambda found: write_map(path, entropy_map(found, heads), plans, properties))
    export_prediction_from_logits(logits, properties, configuration, plans, dataset, target, *args, **kwargs)


class _Noting:
    """A configuration of nnU-Net that hands on the logits, resampled to the image, before a mask is made of them."""

    def __init__(self, configuration: Any, note: Callable[[Any], None]) -> None:
        self._configuration, self._note = configuration, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._configuration, name)

    def resampling_fn_probabilities(self, *args: Any, **kwargs: Any) -> Any:
        resampled = self._configuration.resampling_fn_probabilities(*args, **kwargs)
        self._note(resampled)
        return resampled


def entropy_map(logits: Any, heads: RegionHeads) -> NDArray[np.uint8]:
    """Return the map (…) of logits (heads, …), made slab by slab: beside the logits it takes a byte a voxel."""
    logits = torch.as_tensor(logits)
    found = np.empty(tuple(logits.shape[1:]), np.uint8)
    step = max(1, SLAB_VOXELS // max(1, prod(found.shape[1:])))
    for start in range(0, len(found), step):
        regions = heads.of_regions(heads.probabilities(logits[:, start : start + step]))
        largest = torch.zeros(regions[0].shape, device=logits.device)
        for region in regions:
            largest = torch.maximum(largest, binary_entropy(region))
        codes = (largest * BIT).round()
        codes[codes < FAINT] = 0
        found[start : start + step] = codes.to(torch.uint8).cpu().numpy()
    return found


def write_map(path: str, codes: NDArray[np.uint8], plans: Any, properties: Any) -> None:
    """Write a map of the image as it is cropped for the network, on the grid of the mask, whole or not at all.

    nnU-Net's writer of the mask places it. The same voxels and geometry give the same bytes.
    """
    whole = np.zeros(properties["shape_before_cropping"], np.uint8)
    whole[tuple(slice(*ends) for ends in properties["bbox_used_for_cropping"])] = codes
    whole = whole.transpose(plans.transpose_backward)
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    placed, packed = f"{path}.placed.nii", f"{path}.writing"
    plans.image_reader_writer_class().write_seg(whole, placed, properties)
    image = nibabel.load(placed)
    header, voxels = image.header.copy(), np.asarray(image.dataobj).astype(np.uint8)  # of 16 bits where a voxel has 255
    header.set_data_dtype(np.uint8)
    header.set_data_offset(NIFTI_BYTES)
    header.set_slope_inter(1 / BIT, 0)
    for name in FREE_TEXT:
        header[name] = b""
    with open(packed, "wb") as stream, gzip.GzipFile("", "wb", COMPRESSION, stream, mtime=0) as written:
        written.write(header.binaryblock + bytes(NIFTI_BYTES - len(header.binaryblock)))
        written.write(voxels.tobytes("F"))
    os.replace(packed, path)
    os.remove(placed)  # noqa: PTH107


def _inside(masks: torch.Tensor) -> torch.Tensor:
    """Return masks (members, …) in the box around all of them."""
    return masks[(slice(None), *bounding_box(masks.any(0)))]


def _taken(order: list[str]) -> Iterator[str]:
    """Yield what is in a list that grows, in its order."""
    while True:
        yield order.pop(0)
