"""Response categories by volume: what a series of volumes would be called in a trial.

After the volumetric thresholds of the modified RANO criteria (Ellingson et al. 2017, doi:10.1007/s13311-016-0507-6; kept in
RANO 2.0, Wen et al. 2023, doi:10.1200/JCO.23.01059): progression from an increase by 40 % over the smallest volume so far,
partial response from a decrease by 65 % from baseline. Those criteria also ask for confirmation after four weeks, for clinical
state and for steroids, and know pseudoprogression; none of that is in a mask. So these are categories of volumes, and not of
patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

COMPLETE, PARTIAL, STABLE, PROGRESSION = "CR", "PR", "SD", "PD"
CATEGORIES = (COMPLETE, PARTIAL, STABLE, PROGRESSION)


@dataclass(frozen=True)
class Thresholds:
    """Increase over the nadir, decrease from baseline (fractions), and the smallest volume in ml that counts as measurable."""

    increase: float
    decrease: float
    measurable_ml: float


@dataclass(frozen=True)
class Response:
    """A session's changes from baseline and from the nadir (fractions, NaN if undefined), and its category, or none."""

    from_baseline: float = nan
    from_nadir: float = nan
    category: str = ""


def categorise(volume: float, baseline: float, nadir: float, thresholds: Thresholds) -> str:
    """Return the category of a volume in ml, given the first one and the smallest before it.

    Progression goes before response. What is too small to be measured is no progression, and where the baseline was too small
    there is no partial response. A nadir of 0 makes every measurable volume a progression: tumour that has come back.
    """
    if volume >= thresholds.measurable_ml and volume > nadir and volume >= (1 + thresholds.increase) * nadir:
        return PROGRESSION
    if volume == 0 and baseline > 0:
        return COMPLETE
    if baseline >= thresholds.measurable_ml and volume <= (1 - thresholds.decrease) * baseline:
        return PARTIAL
    return STABLE


def respond(volumes: Sequence[float], thresholds: Thresholds) -> list[Response]:
    """Return the response of each session of a patient, in order; ``volumes`` in ml, NaN where unknown.

    The first session is the baseline and has no response. Without its volume no session has one; a session without a volume has
    none, and the others are as if it had not been.
    """
    baseline = volumes[0]
    found, known = [Response()], [baseline]
    for volume in volumes[1:]:
        if isnan(baseline) or isnan(volume):
            found.append(Response())
            continue
        nadir = min(known)
        changes = (_change(volume, baseline), _change(volume, nadir))
        found.append(Response(*changes, categorise(volume, baseline, nadir, thresholds)))
        known.append(volume)
    return found


def _change(volume: float, before: float) -> float:
    return volume / before - 1 if before else nan
