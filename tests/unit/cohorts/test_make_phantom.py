import dataclasses
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import make_phantom
from glioflow.cohorts.phantom.plan import PhantomCase, plan_phantoms
from glioflow.cohorts.phantom.rendering import CHANNELS, WHITE_MATTER_UNITS, Phantom, render_phantom
from glioflow.console import Console, UserError
from glioflow.files import read_table, sha256_file
from glioflow.imaging.labels import ED, ET, NCR
from glioflow.imaging.volumes import orientation, read_labels, read_volume

SHAPE, SPACING = (40, 48, 40), (4.0, 4.0, 4.0)
PLANTED = {"low_contrast": 4, "small_volume": 3, "heavy_noise": 2}


def rendered(case: PhantomCase) -> Phantom:
    return render_phantom(case, SHAPE, SPACING)


@pytest.fixture(scope="module")
def cohort() -> list[tuple[PhantomCase, Phantom]]:
    return [(case, rendered(case)) for case in plan_phantoms(24, 7, PLANTED)]


def by_kind(cohort: list[tuple[PhantomCase, Phantom]], kind: str) -> list[Phantom]:
    return [phantom for case, phantom in cohort if case.planted == kind]


def flair_ratio(phantom: Phantom) -> float:
    flair, tumour = phantom.images["flair"].astype(float), phantom.labels > 0
    return float(flair[tumour].mean() / flair[(flair > 0) & ~tumour].mean())


def rim_ratio(phantom: Phantom) -> float:
    t1ce = phantom.images["t1ce"].astype(float)
    return float(t1ce[phantom.labels == ET].mean() / np.median(t1ce[(t1ce > 0) & (phantom.labels == 0)]))


def noise_in_the_brain(phantom: Phantom, channel: str = "t1") -> float:
    """The noise's sd over the mean signal, from differences (by MAD) deep in the healthy brain, wider than the grain."""
    image = phantom.images[channel].astype(float)
    healthy = (image > 0) & ~ndimage.binary_dilation(phantom.labels > 0, iterations=2)
    deep = ndimage.binary_erosion(healthy, iterations=2)
    difference = (image[3:] - image[:-3])[deep[3:] & deep[:-3]]
    return float(1.4826 * np.median(np.abs(difference)) / np.sqrt(2) / image[deep].mean())


def same_bytes(a: Phantom, b: Phantom) -> bool:
    images = all(a.images[channel].tobytes() == b.images[channel].tobytes() for channel in CHANNELS)
    return images and a.labels.tobytes() == b.labels.tobytes() and a.affine.tobytes() == b.affine.tobytes()


# The plan


def test_the_same_seed_plans_the_same_cohort_and_another_seed_another() -> None:
    assert plan_phantoms(24, 7, PLANTED) == plan_phantoms(24, 7, PLANTED)
    assert plan_phantoms(24, 7, PLANTED) != plan_phantoms(24, 8, PLANTED)


COUNT = st.integers(0, 9)


@settings(max_examples=60, deadline=None)
@given(cases=st.integers(1, 40), seed=st.integers(0, 2**32), counts=st.tuples(COUNT, COUNT, COUNT))
def test_as_many_cases_are_planted_as_asked_for(cases: int, seed: int, counts: tuple[int, int, int]) -> None:
    planted = dict(zip(("low_contrast", "small_volume", "heavy_noise"), counts, strict=True))
    if sum(counts) > cases:
        with pytest.raises(UserError, match=f"{sum(counts)} cases are to be planted"):
            plan_phantoms(cases, seed, planted)
        return
    plan = plan_phantoms(cases, seed, planted)
    assert [case.case_id for case in plan] == [f"phantom_{number:03d}" for number in range(cases)]
    assert {kind: sum(case.planted == kind for case in plan) for kind in planted} == planted
    assert all(0 < case.strength <= 1 if case.planted else case.strength is None for case in plan)  # type: ignore[operator]
    patients = pd.Series([case.patient_id for case in plan]).value_counts()
    assert sorted(patients)[::-1] == ([2] + [1] * (cases - 2) if cases >= 10 else [1] * cases)


def test_a_longer_cohort_begins_with_the_same_cases() -> None:
    assert plan_phantoms(30, 7, {})[:12] == plan_phantoms(12, 7, {})


def test_planting_changes_the_planted_property_only() -> None:
    planted_plan = plan_phantoms(24, 7, PLANTED)
    changed = {
        "": set(),
        "low_contrast": {"planted", "strength", "flair_contrast", "rim_contrast"},
        "small_volume": {"planted", "strength", "tumour_radius_mm", "multifocal"},
        "heavy_noise": {"planted", "strength", "noise_sd"},
    }
    for plain, case in zip(plan_phantoms(24, 7, {}), planted_plan, strict=True):
        differing = {f.name for f in dataclasses.fields(case) if getattr(case, f.name) != getattr(plain, f.name)}
        assert differing <= changed[case.planted]
        assert bool(differing) == bool(case.planted)


def test_one_kind_more_leaves_the_others_where_they_were() -> None:
    def low(plan: list[PhantomCase]) -> list[str]:
        return [case.case_id for case in plan if case.planted == "low_contrast"]

    assert low(plan_phantoms(24, 7, {"low_contrast": 4})) == low(plan_phantoms(24, 7, PLANTED))


def test_the_planted_cases_are_not_the_first_ones() -> None:
    positions = [n for seed in range(40) for n, case in enumerate(plan_phantoms(20, seed, {"low_contrast": 5})) if case.planted]
    assert 8.0 < np.mean(positions) < 11.0  # 9.5 where every position is as likely


def properties(difficulty: str, planted: dict[str, int] | None = None, cases: int = 200) -> pd.DataFrame:
    return pd.DataFrame([dataclasses.asdict(case) for case in plan_phantoms(cases, 7, planted or {}, difficulty)])


def test_graded_cases_vary_by_degrees_and_contrast_goes_with_difficulty_most() -> None:
    plan = properties("graded")
    rho = plan[["flair_contrast", "noise_sd", "tumour_radius_mm"]].corrwith(plan["difficulty"], method="spearman")
    assert rho["flair_contrast"] < -0.9
    assert 0.4 < rho["noise_sd"] < 0.85
    assert -0.85 < rho["tumour_radius_mm"] < -0.4
    assert plan["flair_contrast"].between(0.4, 1.1).all()
    assert np.diff(np.sort(plan["flair_contrast"])).max() < 0.03  # no gap that would make two groups of them
    assert (plan["rim_contrast"] - plan["flair_contrast"]).round(4).eq(0.15).all()


def test_by_volume_size_is_all_that_differs_by_degrees() -> None:
    graded, plain = properties("volume"), properties("none")
    assert graded["tumour_radius_mm"].corr(graded["difficulty"], method="spearman") < -0.999
    assert graded["tumour_radius_mm"].between(14, 31).all()
    same = [name for name in plain if name not in ("difficulty", "tumour_radius_mm")]
    pd.testing.assert_frame_equal(graded[same], plain[same])


def test_with_no_difficulty_all_cases_are_alike() -> None:
    plan = properties("none")
    assert plan["difficulty"].isna().all()
    assert plan["flair_contrast"].min() >= 0.9


def test_the_extreme_cases_stay_apart_from_the_graded_ones() -> None:
    plan = properties("graded", {"low_contrast": 20})
    assert plan.loc[plan["planted"] == "low_contrast", "flair_contrast"].max() < 0.2
    assert plan.loc[plan["planted"] == "", "flair_contrast"].min() > 0.35


def test_a_longer_graded_cohort_begins_with_the_same_cases() -> None:
    assert plan_phantoms(30, 7, {}, "graded")[:12] == plan_phantoms(12, 7, {}, "graded")


def test_a_difficulty_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="difficulty is 'hard'; it is one of graded, volume, none"):
        plan_phantoms(3, 7, {}, "hard")


@pytest.mark.parametrize(
    ("cases", "planted", "message"),
    [
        (0, {}, "cases is 0; at least 1"),
        (4, {"low_contrast": 3, "heavy_noise": 2}, r"5 cases .* \(3 low_contrast \+ 2 heavy_noise\) .* has 4"),
        (4, {"lowcontrast": 1}, "unknown kind 'lowcontrast'; known are low_contrast, small_volume, heavy_noise"),
        (4, {"low_contrast": -1}, "planted.low_contrast is -1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(cases: int, planted: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_phantoms(cases, 1, planted)


# One case


def test_the_same_case_renders_to_the_same_bytes_and_another_seed_to_others() -> None:
    case = plan_phantoms(3, 7, {})[2]
    assert same_bytes(rendered(case), rendered(case))
    other = rendered(dataclasses.replace(case, seed=case.seed + 1))
    assert not np.array_equal(rendered(case).labels, other.labels)
    assert not np.array_equal(rendered(case).images["t2"] > 0, other.images["t2"] > 0)


def test_the_darkest_voxel_of_the_brain_is_still_above_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WHITE_MATTER_UNITS, "flair", 1.0)
    phantom = rendered(plan_phantoms(1, 7, {})[0])
    assert np.array_equal(phantom.images["flair"] > 0, phantom.images["t1"] > 0)


def test_images_are_int16_and_labels_uint8_on_the_grid_asked_for() -> None:
    phantom = render_phantom(plan_phantoms(1, 7, {})[0], (36, 42, 60), (5.0, 4.5, 3.0))
    assert tuple(phantom.images) == CHANNELS
    assert {(image.dtype, image.shape) for image in phantom.images.values()} == {(np.dtype(np.int16), (36, 42, 60))}
    assert (phantom.labels.dtype, phantom.labels.shape) == (np.dtype(np.uint8), (36, 42, 60))
    assert np.array_equal(np.diag(phantom.affine), [-5.0, -4.5, 3.0, 1.0])


def test_another_grid_shows_the_same_tumour() -> None:
    case = plan_phantoms(1, 7, {})[0]
    coarse, fine = rendered(case), render_phantom(case, (60, 72, 60), (160 / 60, 192 / 72, 160 / 60))
    for label in (NCR, ED, ET):
        volumes = [(p.labels == label).sum() * abs(np.linalg.det(p.affine[:3, :3])) for p in (coarse, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.25)
    centres = [
        p.affine @ [*np.argwhere(p.labels > 0).mean(axis=0), 1.0]  # mm
        for p in (coarse, fine)
    ]
    assert np.linalg.norm(centres[0] - centres[1]) < 2.0


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((40, 48, 40), (2.0, 2.0, 2.0), "spans 80x96x80 mm; a head needs 154x186x154 mm"),
        ((20, 24, 20), (8.0, 8.0, 8.0), "too coarse for a tumour; 5 at most"),
        ((40, 48), (4.0, 4.0), "three positive numbers each"),
        ((40, 48, 40), (4.0, 0.0, 4.0), "three positive numbers each"),
    ],
)
def test_a_grid_that_cannot_hold_a_head_is_refused(shape: tuple[int, ...], spacing: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        render_phantom(plan_phantoms(1, 7, {})[0], shape, spacing)


# A cohort


def test_every_case_is_zero_outside_one_brain_and_above_zero_in_it(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    for _, phantom in cohort:
        brain = phantom.images["t1"] > 0
        assert all(np.array_equal(image > 0, brain) and image.min() == 0 for image in phantom.images.values())
        assert ndimage.label(brain)[1] == 1
        assert 1100 < brain.sum() * 0.064 < 1700  # ml
        edges = [brain.take(side, axis) for axis in range(3) for side in (0, -1)]
        assert not any(edge.any() for edge in edges)


def test_labels_lie_in_the_brain_and_the_rim_encloses_a_core(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    for case, phantom in cohort:
        labels = phantom.labels
        assert not labels[phantom.images["t1"] == 0].any()
        assert set(np.unique(labels)) == {0, NCR, ED, ET} - (set() if case.has_et else {ET})
        core, number = ndimage.label((labels == NCR) | (labels == ET), np.ones((3, 3, 3)))
        assert 1 <= number <= 8
        parts_with_necrosis = set(np.unique(core[labels == NCR]))
        in_them = np.isin(core[labels == ET], list(parts_with_necrosis))
        assert in_them.size == 0 or in_them.mean() > 0.7  # a satellite or a lobe of the core may be solid


def test_fluid_is_never_labelled_tumour(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    for case, phantom in cohort:
        bare = rendered(dataclasses.replace(case, flair_contrast=0.0, rim_contrast=0.0, noise_sd=0.0)).images["flair"]
        white = np.median(bare[bare > 0])
        assert bare[phantom.labels > 0].min() > 0.5 * white
        assert bare[bare > 0].min() < 0.4 * white


def test_tissues_look_as_they_do_in_each_channel(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    for phantom in by_kind(cohort, ""):
        labels = phantom.labels
        brain = (phantom.images["t1"] > 0) & (labels == 0)
        t2 = phantom.images["t2"]
        fluid = brain & (t2 > 2 * np.median(t2[brain]))
        mean = {
            channel: {"fluid": image[fluid].mean(), "brain": np.median(image[brain])}
            | {int(label): image[labels == label].mean() for label in np.unique(labels) if label}
            for channel, image in phantom.images.items()
        }
        assert mean["t2"]["fluid"] > 2 * mean["t2"]["brain"]
        assert all(mean[channel]["fluid"] < 0.75 * mean[channel]["brain"] for channel in ("t1", "t1ce", "flair"))
        assert all(mean[channel][ED] > 1.3 * mean[channel]["brain"] for channel in ("flair", "t2"))
        assert mean["t1"][NCR] < mean["t1"]["brain"]
        if ET in mean["t1ce"]:
            assert mean["t1ce"][ET] > 1.35 * mean["t1ce"]["brain"]
            assert mean["t1ce"][ET] > 1.35 * mean["t1"][ET]


def test_some_cases_have_no_rim_and_some_have_more_than_one_tumour(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    assert 1 <= sum(not case.has_et for case, _ in cohort) <= 12
    assert 1 <= sum(case.multifocal for case, _ in cohort) <= 12
    for case, phantom in cohort:
        parts, number = ndimage.label(phantom.labels > 0, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:] * 0.064
        assert not case.multifocal or number >= 2
        assert case.multifocal or sizes.max() > 0.9 * sizes.sum()


def test_low_contrast_is_low_in_the_image_itself(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    low, plain = ([flair_ratio(p) for p in by_kind(cohort, kind)] for kind in ("low_contrast", ""))
    assert max(low) < 1.3
    assert min(plain) > 1.45
    low, plain = ([rim_ratio(p) for p in by_kind(cohort, kind) if (p.labels == ET).any()] for kind in ("low_contrast", ""))
    assert max(low) < min(plain)


def test_a_stronger_plant_is_a_lower_contrast(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    case = next(case for case, _ in cohort if case.planted == "low_contrast")
    ratios = [flair_ratio(rendered(dataclasses.replace(case, flair_contrast=c))) for c in (0.1, 0.3, 0.6, 1.0)]
    assert ratios == sorted(ratios)
    assert ratios[-1] - ratios[0] > 0.5


def test_small_tumours_are_smaller_than_every_other(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    small = [(p.labels > 0).sum() for p in by_kind(cohort, "small_volume")]
    others = [(p.labels > 0).sum() for case, p in cohort if case.planted != "small_volume"]
    assert max(small) * 2 < min(others)
    assert max(small) * 0.064 < 8  # ml


def test_heavy_noise_is_several_times_the_noise_of_the_others(cohort: list[tuple[PhantomCase, Phantom]]) -> None:
    others = [noise_in_the_brain(p) for case, p in cohort if case.planted != "heavy_noise"]
    assert min(noise_in_the_brain(p) for p in by_kind(cohort, "heavy_noise")) > 2 * max(others)


def test_noise_has_the_sd_of_the_plan() -> None:
    case = dataclasses.replace(plan_phantoms(1, 7, {})[0], noise_sd=0.1)
    quiet = dataclasses.replace(case, noise_sd=0.0)
    noisy, clean = (rendered(c).images["t1"].astype(float) for c in (case, quiet))
    bright = clean > 0.95 * np.median(clean[clean > 0])  # white matter, where Rician noise is normal
    assert np.std((noisy - clean)[bright]) / clean[bright].mean() == pytest.approx(0.1, rel=0.08)


# The script


def run(folder: Path, threads: int = 1, **changed: object) -> str:
    params = {"cases": 3, "seed": 7, "planted": {"small_volume": 1}, "shape": [40, 48, 40], "spacing_mm": 4}
    params |= {"difficulty": "none", "made_in": str(folder / "images"), "cache": str(folder / "cache.jsonl")}
    snakemake = SimpleNamespace(
        params=SimpleNamespace(**{**params, **changed}),
        output=SimpleNamespace(truth=str(folder / "cohorts/demo/phantom.csv")),
        threads=threads,
    )
    return make_phantom.main(snakemake, Console())


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.nii.gz"))}


def test_files_hold_what_was_rendered_where_it_was_rendered(tmp_path: Path) -> None:
    assert run(tmp_path) == "3 cases, 3 rendered now; planted: 1 small_volume"
    case = plan_phantoms(3, 7, {"small_volume": 1})[1]
    phantom = rendered(case)
    for channel in CHANNELS:
        volume = read_volume(tmp_path / f"images/phantom_001/phantom_001_{channel}.nii.gz")
        assert volume.data.dtype == np.int16
        assert np.array_equal(volume.data, phantom.images[channel])
        assert np.allclose(volume.affine, phantom.affine)
        assert volume.spacing == pytest.approx((4.0, 4.0, 4.0))
        assert orientation(volume) == "LPS"
    seg = tmp_path / "images/phantom_001/phantom_001_seg.nii.gz"
    assert np.array_equal(read_labels(seg).data, phantom.labels)
    assert nib.load(seg).get_data_dtype() == np.uint8


def test_the_truth_table_says_what_was_planted_and_what_came_of_it(tmp_path: Path) -> None:
    run(tmp_path)
    table = read_table(tmp_path / "cohorts/demo/phantom.csv").set_index("case_id")
    plan = plan_phantoms(3, 7, {"small_volume": 1})
    for case in plan:
        row = table.loc[case.case_id]
        assert row["seed"] == case.seed
        assert row["patient_id"] == case.patient_id
        assert row["tumour_radius_mm"] == case.tumour_radius_mm
        assert (row["planted"] == case.planted) if case.planted else pd.isna(row["planted"])
        assert (row["strength"] == case.strength) if case.planted else pd.isna(row["strength"])
        phantom = rendered(case)
        assert row["volume_WT_ml"] == pytest.approx((phantom.labels > 0).sum() * 0.064)
        assert row["volume_NCR_ml"] + row["volume_ET_ml"] == pytest.approx(row["volume_TC_ml"])
        assert row["volume_TC_ml"] + row["volume_ED_ml"] == pytest.approx(row["volume_WT_ml"])
        assert row["flair_tumour_to_brain"] == pytest.approx(flair_ratio(phantom))


def test_two_threads_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two", threads=2)
    assert len(hashes(tmp_path / "one")) == 15
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    tables = [(tmp_path / name / "cohorts/demo/phantom.csv").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]


def test_what_is_finished_is_not_rendered_again(tmp_path: Path) -> None:
    run(tmp_path)
    before = hashes(tmp_path)
    table = (tmp_path / "cohorts/demo/phantom.csv").read_bytes()
    assert run(tmp_path).startswith("3 cases, 0 rendered now")
    (tmp_path / "images/phantom_002/phantom_002_t2.nii.gz").unlink()
    (tmp_path / "images/phantom_001/phantom_001_t2.nii.gz").write_bytes(b"altered")
    assert run(tmp_path).startswith("3 cases, 2 rendered now")
    assert hashes(tmp_path) == before
    assert run(tmp_path, cases=4).startswith("4 cases, 1 rendered now")
    assert run(tmp_path, seed=8).startswith("3 cases, 3 rendered now")
    assert hashes(tmp_path) != before
    run(tmp_path)
    assert {name: h for name, h in hashes(tmp_path).items() if "phantom_003" not in name} == before
    assert (tmp_path / "cohorts/demo/phantom.csv").read_bytes() == table


def test_another_generator_renders_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    monkeypatch.setattr(make_phantom, "module_fingerprint", lambda *modules: "other code")
    assert run(tmp_path).startswith("3 cases, 3 rendered now")


def test_spacing_is_one_number_or_three() -> None:
    assert make_phantom.spacing_of(2) == (2.0, 2.0, 2.0)
    assert make_phantom.spacing_of([1, 2, 3.5]) == (1.0, 2.0, 3.5)
    with pytest.raises(UserError, match="one number or three"):
        make_phantom.spacing_of([1, 2])
