"""Compare the clinical covariates of the worst and the best cases, and test in all cases whether the metric goes with them.

Inputs:  ``scores`` (the set's score table), ``extremes`` (extremes.csv), ``manifest`` (manifest.csv, with the covariates).
         To those of the manifest come the standard ones: the true volumes of the whole tumour and of the region (ml), how
         many components the prediction of the region has, and its signed volume error (ml, prediction less truth).
Outputs: ``covariates`` (covariates.csv, ``COLUMNS``): a row for each numeric covariate and for each level of a categorical
         one, the covariate with the largest effect first.
Params:  ``rank_by`` (the metric that the extremes were chosen by), ``region``, ``penalised`` (``apart`` or ``include``: the
         cases whose truth or prediction lacks the region).

``worst`` and ``best`` are the mean of a number, or the share of the cases with a level. ``effect`` is Cohen's d of a number
(``glioflow.failure.effects``), the difference of the shares, worst minus best, of a level. ``n`` counts the cases of the set
with a value and a metric, ``patients`` their patients, ``n_level`` the cases with the level, ``n_worst`` and ``n_best`` the
extremes with a value.

The tests are over all these cases, by patient, since cases of one patient are not independent: a patient counts once, by the
means of its cases; in a category once for each level that its cases have. They are Spearman's rho of covariate and metric
(``glioflow.failure.correlations``), and for a category the Kruskal-Wallis H of the metric across its levels
(``glioflow.evaluation.group_tests``), on the first row of the covariate; in small samples p is that of a permutation test.
p is uncorrected; q is corrected for the number of covariates tested (Benjamini & Hochberg 1995, J R Stat Soc B 57:289-300;
scipy.stats.false_discovery_control).

Numbers with fewer than three distinct values are categories (codes 0 and 1). Codes with more values, such as 1 to 4 for a
grade, look like numbers and are treated as such. Identifiers (``*_id``), texts that no two cases share and covariates with one
value have a row with a note.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from glioflow.cohorts.covariate_values import all_different, are_dates, is_identifier, read_covariates, typed_covariate
from glioflow.cohorts.covariates import PREDICTED_COMPONENTS, TRUE_VOLUME, VOLUME_ERROR
from glioflow.console import Console, count, run_script
from glioflow.evaluation.group_tests import kruskal_wallis
from glioflow.evaluation.score_tables import ranked_apart, read_scores
from glioflow.failure.correlations import FEWEST_TESTED, correlate
from glioflow.failure.effects import cohens_d
from glioflow.files import read_table, read_text_table, write_table
from glioflow.formatting import exact

COLUMNS = (
    *("covariate", "kind", "level", "n", "patients", "n_level", "n_worst", "n_best", "worst", "best", "effect", "effect_name"),
    *("spearman_rho", "kruskal_h", "p", "q", "note"),
)
STANDARD = ("volume_truth_ml", "components_prediction", "volume_error_ml")  # columns of the score table
COHENS_D, RISK_DIFFERENCE = "Cohen's d", "risk difference"

Row = dict[str, Any]


def untested(values: pd.Series, metric: pd.Series) -> str:
    """Return why patients with these values and metrics cannot be tested; nothing where they can."""
    if len(metric) < FEWEST_TESTED:
        return f"fewer than {FEWEST_TESTED} patients to test"
    if metric.nunique() == 1:
        return "the metric is the same in every patient"
    return "the covariate is the same in every patient" if values.nunique() == 1 else ""


def why_not(name: str, kind: Any, whole: pd.Series, values: pd.Series) -> str:
    """Return why a covariate is not compared; nothing where it is. ``whole``: of the cohort; ``values``: the set's, defined."""
    if is_identifier(name):
        return "an identifier"
    if are_dates(whole):
        return "dates; days since a date of each case, or years of age, could be compared"
    if all_different(kind, whole):
        return "a text that differs in every case; numbers (with a decimal point) or a few categories could be compared"
    if values.empty:
        return "no case of the set has a value"
    return f"one value in every case: {values.iloc[0]}" if values.nunique() == 1 else ""


def compare_number(values: pd.Series, metric: pd.Series, patients: pd.Series, groups: dict[str, list[str]]) -> list[Row]:
    """Return the row of a numeric covariate.

    ``values``, ``metric``, ``patients``: by case; ``groups``: worst and best to case ids.
    """
    effect = cohens_d(values.reindex(groups["worst"]), values.reindex(groups["best"]), "covariate")
    row: Row = {"n_worst": effect.n_worst, "n_best": effect.n_best, "worst": effect.mean_worst, "best": effect.mean_best}
    row |= {"effect": effect.cohens_d, "effect_name": COHENS_D}
    tested = pd.DataFrame({"value": values, "metric": metric}).groupby(patients.to_numpy(object)).mean()
    notes = [effect.note, untested(tested["value"], tested["metric"])]
    if not notes[1]:
        rho, p = correlate(tested[["value"]].to_numpy(float), tested["metric"].to_numpy(float))
        row["spearman_rho"], row["p"] = float(rho[0]), float(p[0])
    return [{**row, "note": "; ".join(filter(None, notes))}]


def compare_category(values: pd.Series, metric: pd.Series, patients: pd.Series, groups: dict[str, list[str]]) -> list[Row]:
    """Return the rows of a categorical covariate, the level with the largest effect first; the test is in the first row."""
    worst, best = (values.reindex(groups[group]).dropna() for group in ("worst", "best"))
    empty = " and ".join(name for name, group in (("worst", worst), ("best", best)) if group.empty)
    note = f"none of the {empty} cases has a value" if empty else ""
    rows: list[Row] = []
    for level, number in values.value_counts().sort_index().items():
        shares = [float((group == level).mean()) if len(group) else np.nan for group in (worst, best)]
        row: Row = {"level": level, "n_level": number, "n_worst": len(worst), "n_best": len(best)}
        row |= {"worst": shares[0], "best": shares[1], "effect": shares[0] - shares[1], "effect_name": RISK_DIFFERENCE}
        rows.append({**row, "note": note})
    rows.sort(key=lambda row: 0.0 if np.isnan(row["effect"]) else -abs(row["effect"]))
    tested = metric.groupby([patients.to_numpy(object), values.to_numpy(object)]).mean()
    levels = pd.Series(tested.index.get_level_values(1), tested.index)
    if reason := untested(levels, tested):
        rows[0]["note"] = "; ".join(filter(None, [note, reason]))
    else:
        rows[0]["kruskal_h"], rows[0]["p"] = kruskal_wallis(tested, levels)
    return rows


def compare_covariates(
    covariates: pd.DataFrame, metric: pd.Series, patients: pd.Series, extremes: pd.DataFrame
) -> pd.DataFrame:
    """Return the rows of covariates.csv.

    ``covariates``: text by case_id, of the whole cohort; ``metric`` and ``patients``: by case_id, of the set; ``extremes``:
    group, case_id.
    """
    ranked = metric[metric.notna()]
    groups = {str(name): list(cases) for name, cases in extremes.groupby("group")["case_id"]}
    blocks: list[list[Row]] = []
    for name in map(str, covariates.columns):
        kind, whole = typed_covariate(covariates[name])
        values = whole.reindex(ranked.index).dropna()
        of_patients = patients[values.index]
        named = {"covariate": name, "kind": kind, "n": len(values), "patients": of_patients.nunique()}
        if reason := why_not(name, kind, whole, values):
            blocks.append([{**named, "note": reason}])
            continue
        compare = compare_number if kind == "number" else compare_category
        blocks.append([{**named, **row} for row in compare(values, ranked[values.index], of_patients, groups)])
    table = pd.DataFrame([row for block in sorted(blocks, key=_order) for row in block], columns=list(COLUMNS))
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "q"] = false_discovery_control(table.loc[tested, "p"].astype(float))
    counts = dict.fromkeys(("n", "patients", "n_level", "n_worst", "n_best"), "Int64")
    return table.astype(counts)


def _order(block: list[Row]) -> tuple[bool, float, str]:
    effects = [abs(row["effect"]) for row in block if not np.isnan(row.get("effect", np.nan))]
    return (not effects, -max(effects, default=0.0), block[0]["covariate"])


def standard_covariates(scores: pd.DataFrame, whole_tumour_ml: pd.Series, region: str) -> pd.DataFrame:
    """Return what is known of every tumour and its prediction, as text by case_id.

    ``scores``: a row a case of the region, by case_id, with the columns ``STANDARD``; ``whole_tumour_ml``: text by case_id.
    """
    names = (TRUE_VOLUME.format(region), PREDICTED_COMPONENTS.format(region), VOLUME_ERROR.format(region))
    table = scores[list(STANDARD)].map(exact, na_action="ignore").astype("string").set_axis(names, axis=1)
    return table if region == "WT" else table.assign(**{TRUE_VOLUME.format("WT"): whole_tumour_ml.reindex(table.index)})


def main(snakemake: Any, console: Console) -> str:
    """Write ``covariates.csv``."""
    source, params = snakemake.input, snakemake.params
    metric, region = params.rank_by, params.region
    columns = tuple(dict.fromkeys([metric, *STANDARD]))
    scores = ranked_apart(read_scores(source.scores, region, columns), params.penalised)[0].set_index("case_id")
    whole_tumour_ml = read_text_table(source.manifest).set_index("case_id")["volume_WT_ml"]
    standard = standard_covariates(scores, whole_tumour_ml, region)
    covariates = read_covariates(source.manifest).join(standard)
    table = compare_covariates(covariates, scores[metric], scores["patient_id"], read_table(source.extremes))
    write_table(snakemake.output.covariates, table)
    names, tested = table["covariate"].nunique(), table.dropna(subset=["q"])
    if tested.empty:
        return f"{count(names, 'covariate')}, none tested"
    first = tested.sort_values("q", kind="stable").iloc[0]
    return f"{count(names, 'covariate')}, {len(tested)} tested, the smallest q {first['q']:.3g} ({first['covariate']})"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
