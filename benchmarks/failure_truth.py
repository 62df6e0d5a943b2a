"""Plant a cause of failure, or none, and count how often the failure analysis finds what is there: `make bench-truth`.

Usage: python benchmarks/failure_truth.py [--seeds 100] [--phantoms 40] [--patients 74 200] [--threads 2]

Features of phantoms are extracted as in a study, in FLAIR within the whole tumour. Cohorts of patients are then simulated that
have the same rank correlations between features, contrast and volume (a Gaussian copula), with a metric that depends on one of
them, or on nothing, and each goes through the analysis and the claims of the report:

- *contrast*: the metric goes with the tumour's contrast at a correlation of ``EFFECT``. Found: a feature is claimed, and the
  first one is among those that contrast itself moves: a |rho| of ``MOVED`` or more with it in the phantoms. Contrast moves
  levels, spreads and textures nearly alike, so that which of these groups is first is chance; how often it is the one moved
  most is told beside.
- *volume alone*: likewise with the tumour's volume, which moves shapes and textures too. False: a texture or an intensity has a
  q below 0.05 at equal volume.
- *nothing*: the metric is random. False: any feature is claimed.

Ends with an error where a share is further beyond its bound (95 % found, 5 % false) than chance takes it in one of twenty
runs of so many cohorts. The table is in Markdown.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom, norm, rankdata, spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from glioflow.cohorts.phantom.plan import PhantomCase, plan_phantoms
from glioflow.cohorts.phantom.rendering import render_phantom
from glioflow.failure.associations import associate
from glioflow.failure.feature_groups import feature_groups, meaning_group
from glioflow.failure.radiomics import extract_features
from glioflow.failure.radiomics_parameters import default_parameters, feature_names
from glioflow.imaging.volumes import Volume
from glioflow.parallel import map_unordered
from glioflow.report.claims import FALSE_DISCOVERIES, findings

Floats = NDArray[np.float64]

EFFECT = 0.7
MOVED = 0.7
EXTREMES = 20
CONTRAST, VOLUME = "flair_contrast", "volume_ml"
FOUND_AT_LEAST, FALSE_AT_MOST, CHANCE = 0.95, 0.05, 0.05


@dataclass(frozen=True)
class Structure:
    """How features, contrast and volume go together in phantoms: normal scores (phantoms, quantities)."""

    names: list[str]
    scores: Floats

    def draw(self, patients: int, rng: np.random.Generator) -> pd.DataFrame:
        """Return the quantities of so many patients, normally distributed, with the phantoms' correlations."""
        weights = rng.normal(size=(patients, len(self.scores))) / np.sqrt(len(self.scores))
        return pd.DataFrame(weights @ self.scores, columns=self.names)

    def moved_by(self, cause: str) -> dict[str, float]:
        """Return the |rho| of each feature with ``cause``."""
        place = self.names.index(cause)
        rho = {n: abs(float(spearmanr(self.scores[:, i], self.scores[:, place]).statistic)) for i, n in enumerate(self.names)}
        return {name: rho[name] for name in feature_names(default_parameters()) if name in rho}


def measure(case: PhantomCase, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Return the features, the contrast and the volume of a phantom."""
    phantom = render_phantom(case, shape, spacing_mm)
    mask = phantom.labels > 0
    features = extract_features(Volume(phantom.images["flair"], phantom.affine), mask, default_parameters()).features
    return {**features, CONTRAST: case.flair_contrast, VOLUME: float(mask.sum())}


def measure_structure(
    difficulty: str,
    phantoms: int,
    threads: int,
    shape: tuple[int, int, int] = (40, 48, 40),
    spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0),
) -> Structure:
    """Return how the quantities go together in as many phantoms of a difficulty (``plan.DIFFICULTIES``)."""
    cases = plan_phantoms(phantoms, 1, {}, difficulty)
    rows = {case.case_id: row for case, row in map_unordered(measure, cases, threads, shape, spacing_mm)}
    table = pd.DataFrame([rows[case.case_id] for case in cases])
    table = table.loc[:, table.nunique() > 1]
    return Structure(list(table.columns), norm.ppf((rankdata(table.to_numpy(), axis=0) - 0.5) / len(table)))


def simulate(structure: Structure, cause: str | None, patients: int, seed: int) -> pd.DataFrame:
    """Return associations.csv of a cohort whose metric goes with ``cause`` (lower: worse), or with nothing."""
    rng = np.random.default_rng(seed)
    drawn = structure.draw(patients, rng)
    chance = rng.normal(size=patients)
    metric = chance if cause is None else -EFFECT * drawn[cause].to_numpy() + np.sqrt(1 - EFFECT**2) * chance
    ids = [f"patient_{number}" for number in range(patients)]
    radiomics = drawn.drop(columns=[CONTRAST, VOLUME], errors="ignore")
    radiomics = radiomics.assign(case_id=ids, patient_id=ids, image="flair", region="WT")
    ranked = pd.DataFrame({"case_id": ids, "patient_id": ids, "value": metric}).sort_values("value", ascending=False)
    size = min(EXTREMES, patients // 2)
    chosen = [*ranked["case_id"].head(size), *ranked["case_id"].tail(size)]
    extremes = pd.DataFrame({"group": ["worst"] * size + ["best"] * size, "case_id": chosen})
    return associate(radiomics, ranked, {"WT": pd.Series(drawn[VOLUME].to_numpy(), ids)}, extremes, complete=True)


def first_finding(associations: pd.DataFrame) -> tuple[str, set[str]]:
    """Return the first feature that is claimed, and the meaning groups of those that tell the same; nothing where none is."""
    found = findings(associations)
    if found.empty:
        return "", set()
    alike = associations[associations["cluster"] == found["cluster"].iloc[0]]
    return str(found["feature"].iloc[0]), set(alike["meaning_group"])


def finds_texture(associations: pd.DataFrame) -> bool:
    """Tell whether a texture or an intensity goes along with the metric at equal volume."""
    kinds = associations["meaning_group"].map({name: group.kind for name, group in feature_groups().items()})
    return bool(((associations["q_given_volume"] < FALSE_DISCOVERIES) & kinds.isin(["texture", "intensity"])).any())


def count_findings(structures: Mapping[str, Structure], patients: int, seeds: int) -> dict[str, float]:
    """Return the share of the cohorts in which the cause, or something false, is found; and medians of |d| and |rho|."""
    graded, by_volume = structures["graded"], structures["volume"]
    moved, moved_by_volume = graded.moved_by(CONTRAST), by_volume.moved_by(VOLUME)
    group = meaning_group(max(moved, key=lambda name: moved[name]))
    planted = [simulate(graded, CONTRAST, patients, seed) for seed in range(seeds)]
    nothing = [simulate(graded, None, patients, 1000 + seed) for seed in range(seeds)]
    sized = [simulate(by_volume, VOLUME, patients, 2000 + seed) for seed in range(seeds)]
    return {
        "planted": float(np.mean([moved.get(first_finding(table)[0], 0.0) >= MOVED for table in planted])),
        "most_moved": float(np.mean([group in first_finding(table)[1] for table in planted])),
        "size": float(np.mean([moved_by_volume.get(first_finding(table)[0], 0.0) >= MOVED for table in sized])),
        "nothing": float(np.mean([not findings(table).empty for table in nothing])),
        "volume": float(np.mean([finds_texture(table) for table in sized])),
        "rho": float(np.median([table["spearman_rho"].abs().max() for table in planted])),
        "d": float(np.median([table["cohens_d"].abs().max() for table in planted])),
        "d_by_chance": float(np.median([table["cohens_d"].abs().max() for table in nothing])),
        "band": float(np.median([table["d_null_95"].iloc[0] for table in nothing])),
        "beyond": float(np.mean([table["cohens_d"].abs().max() > table["d_null_95"].iloc[0] for table in nothing])),
    }


def misses_bound(shares: Mapping[str, float], seeds: int) -> bool:
    """Tell whether a share is beyond its bound by more than chance takes one that meets it in one of twenty runs."""
    lost = [binom.cdf(round(shares[name] * seeds), seeds, FOUND_AT_LEAST) for name in ("planted", "size")]
    false = [binom.sf(round(shares[name] * seeds) - 1, seeds, FALSE_AT_MOST) for name in ("nothing", "volume")]
    return bool(min(*lost, *false) < CHANCE)


def table_row(patients: int, shares: Mapping[str, float]) -> str:
    """Return a row of the table."""
    percent = [f"{100 * shares[name]:.0f} %" for name in ("planted", "most_moved", "size", "volume", "nothing")]
    sizes = [f"{shares[name]:.2f}" for name in ("rho", "d", "d_by_chance", "band")]
    beyond = shares["beyond"]
    return f"| {patients} | {' | '.join([*percent, *sizes, f'{100 * beyond:.0f} %'])} |"


def main() -> None:
    """Print the table; exit with an error where a bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--phantoms", type=int, default=40)
    parser.add_argument("--patients", type=int, nargs="+", default=[74, 200])
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    structures = {kind: measure_structure(kind, asked.phantoms, asked.threads) for kind in ("graded", "volume")}
    print(f"{asked.seeds} cohorts of each kind.\n")
    head = ("patients", "contrast: found first", "its most moved group first", "volume alone: found first")
    head += ("volume alone: texture at equal volume", "nothing: any finding", "largest ρ, contrast", "largest d, contrast")
    head += ("largest d, nothing", "band of d", "nothing: d beyond the band")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    missed = []
    for patients in asked.patients:
        shares = count_findings(structures, patients, asked.seeds)
        print(table_row(patients, shares), flush=True)
        if misses_bound(shares, asked.seeds):
            missed.append(patients)
    if missed:
        sys.exit(f"A bound is missed with {', '.join(map(str, missed))} patients.")


if __name__ == "__main__":
    main()
