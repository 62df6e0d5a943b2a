"""What a cohort of phantoms is planned to be: its cases, and the difficulty planted in some of them.

What is drawn for a case depends on the cohort's seed and the case's number only, not on how many cases there are: a longer
cohort begins with the same heads and tumours. A case's difficulty moves its contrast, noise and size together, so that failing
depends on them by degrees, as in real cohorts. Planting replaces one property of a case by an extreme one and leaves the rest
as it was drawn; which cases are planted, and who has two sessions, does depend on the number of cases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from glioflow.console import UserError

PLANTED_KINDS = ("low_contrast", "small_volume", "heavy_noise")
# What makes the other cases harder or easier: contrast above all, size and noise too; size alone; or nothing.
DIFFICULTIES = ("graded", "volume", "none")
# From the easiest to the hardest case, and how much of it is the case's difficulty; the rest is chance.
_GRADED = {"flair_contrast": (1.1, 0.4, 0.85), "noise_sd": (0.025, 0.05, 0.5), "tumour_radius_mm": (31.0, 19.0, 0.5)}
_BY_VOLUME = {"tumour_radius_mm": (31.0, 14.0, 1.0)}
# How far the enhancing rim's contrast is above the tumour's where that is lowered.
_RIM_ABOVE = 0.15
# A cohort of at least this many cases has one patient with two sessions, so that grouping by patient is exercised.
CASES_WITH_A_SECOND_SESSION = 10


@dataclass(frozen=True)
class PhantomCase:
    """One planned case.

    ``strength`` (0, 1] is how strongly the difficulty is planted, None where nothing is. ``difficulty`` [0, 1) is how hard the
    case is among those that differ by degrees, None where all are alike. ``flair_contrast`` multiplies the
    contrast of tumour to brain (1 = plain to see, 0 = invisible) in FLAIR, T2 and T1, ``rim_contrast`` that of the enhancing
    rim in T1ce; ``noise_sd`` is the standard deviation of the acquisition noise as a fraction of the white-matter signal of
    each channel; ``tumour_radius_mm`` is the radius of the whole tumour (of the main one in a multifocal case) before its
    outline is roughened and clipped to the brain.
    """

    case_id: str
    patient_id: str
    seed: int
    planted: str
    strength: float | None
    difficulty: float | None
    multifocal: bool
    has_et: bool
    flair_contrast: float
    rim_contrast: float
    noise_sd: float
    tumour_radius_mm: float


def plan_phantoms(cases: int, seed: int, planted: Mapping[str, int], difficulty: str = "none") -> list[PhantomCase]:
    """Return the plan of a cohort: ``cases`` cases, where ``planted`` is how many get each of ``PLANTED_KINDS``.

    ``difficulty``, of ``DIFFICULTIES``, is what makes the others harder or easier. A case gets one kind at most. Patients
    have one session each and their id is that of the case, save that in a cohort of ten or more one patient, drawn from the
    first ten cases, has two.

    Raises UserError where the numbers cannot be had, or a kind or the difficulty is unknown.
    """
    _check_counts(cases, planted)
    if difficulty not in DIFFICULTIES:
        raise UserError(f"phantom: difficulty is {difficulty!r}; it is one of {', '.join(DIFFICULTIES)}")
    drawn, lots = zip(*(_draw_case(number, seed, difficulty) for number in range(cases)), strict=True)
    plan: list[PhantomCase] = list(drawn)
    strengths = [draw["strength"] for draw in lots]
    for kind in PLANTED_KINDS:
        free = [number for number in range(cases) if not plan[number].planted]
        for number in sorted(free, key=lambda n: lots[n][kind])[: planted.get(kind, 0)]:
            plan[number] = _plant(plan[number], kind, strengths[number])
    if cases >= CASES_WITH_A_SECOND_SESSION:
        pair = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).permutation(CASES_WITH_A_SECOND_SESSION)
        first, second = sorted(int(number) for number in pair[:2])
        plan[second] = replace(plan[second], patient_id=plan[first].patient_id)
    return plan


def _check_counts(cases: int, planted: Mapping[str, int]) -> None:
    if cases < 1:
        raise UserError(f"phantom: cases is {cases}; at least 1 is needed")
    for kind, number in planted.items():
        if kind not in PLANTED_KINDS:
            raise UserError(f"phantom: planted has the unknown kind {kind!r}; known are {', '.join(PLANTED_KINDS)}")
        if number < 0:
            raise UserError(f"phantom: planted.{kind} is {number}; it must be 0 or more")
    if (total := sum(planted.values())) > cases:
        parts = " + ".join(f"{number} {kind}" for kind, number in planted.items() if number)
        raise UserError(f"phantom: {total} cases are to be planted ({parts}) but the cohort has {cases}; plant {cases} at most")


def _draw_case(number: int, seed: int, difficulty: str) -> tuple[PhantomCase, dict[str, float]]:
    """Return case ``number`` with nothing planted, and its lots: a rank per kind (the lowest are planted) and a strength."""
    sequence = np.random.SeedSequence(seed, spawn_key=(0, number))
    rng = np.random.default_rng(sequence)
    case = PhantomCase(
        case_id=f"phantom_{number:03d}",
        patient_id=f"phantom_{number:03d}",
        seed=int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)),  # fits a signed 64-bit table column
        planted="",
        strength=None,
        difficulty=None,
        multifocal=bool(rng.random() < 0.2),
        has_et=bool(rng.random() < 0.8),
        flair_contrast=round(rng.uniform(0.9, 1.1), 4),
        rim_contrast=round(rng.uniform(0.85, 1.15), 4),
        noise_sd=round(rng.uniform(0.025, 0.04), 4),
        tumour_radius_mm=round(rng.uniform(20.0, 31.0), 2),
    )
    lots = {kind: float(rng.random()) for kind in PLANTED_KINDS}
    strength = round(rng.uniform(0.4, 1.0), 3)
    if difficulty != "none":
        graded = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, number)))
        case = _grade(case, _GRADED if difficulty == "graded" else _BY_VOLUME, graded)
    return case, {**lots, "strength": strength}


def _grade(case: PhantomCase, ranges: Mapping[str, tuple[float, float, float]], rng: np.random.Generator) -> PhantomCase:
    """Return ``case`` with a difficulty drawn at random, and the properties in ``ranges`` as hard as that makes them."""
    difficulty = round(float(rng.random()), 4)
    values: dict[str, float] = {}
    for name, (easy, hard, share) in ranges.items():
        values[name] = round(easy + (hard - easy) * (share * difficulty + (1 - share) * float(rng.random())), 4)
    if "flair_contrast" in values:
        values["rim_contrast"] = round(_RIM_ABOVE + values["flair_contrast"], 4)
    return replace(case, difficulty=difficulty, **values)  # type: ignore[arg-type]


def _plant(case: PhantomCase, kind: str, strength: float) -> PhantomCase:
    """Return ``case`` made hard: the one property of ``kind`` changed by ``strength``, the rest as it was drawn."""
    case = replace(case, planted=kind, strength=strength)
    if kind == "low_contrast":
        contrast = round(0.24 - 0.19 * strength, 4)
        return replace(case, flair_contrast=contrast, rim_contrast=round(_RIM_ABOVE + contrast, 4))
    if kind == "small_volume":
        return replace(case, tumour_radius_mm=round(11.0 - 4.5 * strength, 2), multifocal=False)
    return replace(case, noise_sd=round(case.noise_sd * (4.0 + 14.0 * strength), 4))
