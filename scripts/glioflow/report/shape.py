"""The report on shape: what the masks' shapes are, and which covariates of the patients they go along with."""

from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.formatting import number
from glioflow.report.claims import FALSE_DISCOVERIES, probability
from glioflow.report.covariates import probability_cell
from glioflow.report.quality_figures import FEATURE_WORDS, TEST_WORDS, draw_shape_associations
from glioflow.report.source import Pair, Source, embed_figure, records
from glioflow.report.tables import Cell, Table, count_cell, join_words, number_cell, text_cell, together, without_empty

SHOWN_ASSOCIATIONS = 12
MOST_DRAWN = 40  # covariates of the heat map
NAMED = 3
TEST_NAMES = {"fisher": "Fisher–Freeman–Halton", "kruskal": "Kruskal–Wallis"}


def shape_part(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of shape and covariates."""
    shapes, associations = (source.quality(pair, name) for name in ("shapes", "shape_covariates"))
    tested = associations[associations["fisher_p"].notna() | associations["kruskal_p"].notna()]
    alt = f"Heat map of p by covariate and shape feature, {pair.name}; the table that follows has the numbers."
    ordered = tested.sort_values(["fisher_q", "fisher_p"], kind="stable")
    drawn = tested[tested["covariate"].isin(list(dict.fromkeys(ordered["covariate"]))[:MOST_DRAWN])]
    return {
        "sentence": together(" ".join([shape_words(source, shapes), *(association_sentences(tested, associations))])),
        "figure": embed_figure(draw_shape_associations(drawn, FALSE_DISCOVERIES), alt) if len(tested) else None,
        "table": association_table(pair, ordered) if len(tested) else None,
        "shown": min(len(tested), SHOWN_ASSOCIATIONS),
        "rows": len(tested),
        "left_out": untested_words(associations, tested),
    }


def in_sentence(feature: str) -> str:
    """Return a feature's name as it stands within a sentence."""
    words = FEATURE_WORDS[feature]
    return words[0].lower() + words[1:]


def shape_words(source: Source, shapes: pd.DataFrame) -> str:
    """Return the features' medians in the truth, and why masks have none."""
    region, said = source.study["quality"]["shape"], []
    for mask in dict.fromkeys(shapes["mask"]):
        own = shapes[shapes["mask"] == mask]
        defined = own[own["ellipsoid_ratio"].notna()]
        if defined.empty:
            said.append(f"No {mask} mask has a shape of {region}: {'; '.join(dict.fromkeys(own['note'].dropna()))}.")
            continue
        medians = join_words(f"{in_sentence(name)} {number(defined[name].median(), 3)}" for name in FEATURE_WORDS)
        said.append(f"{region} of {count(len(defined), f'{mask} mask')}, medians: {medians}.")
    return " ".join(said)


def association_sentences(tested: pd.DataFrame, associations: pd.DataFrame) -> list[str]:
    """Return which covariates shape goes along with, or that none does or could be tested."""
    if associations.empty:
        return ["The cohort has no covariates that shape could go along with."]
    if tested.empty:
        return ["No covariate could be tested."]
    if found := association_findings(tested):
        return found
    covariates = count(tested["covariate"].nunique(), "covariate")
    return [f"Of {covariates} tested none goes along with a shape feature more than chance may do (q ≥ {FALSE_DISCOVERIES})."]


def association_findings(associations: pd.DataFrame) -> list[str]:
    """Return the findings in words, the smallest q first, for each mask; nothing where all may be chance."""
    said = []
    for mask, own in associations.groupby("mask", sort=False):
        rows = [
            {**row, "test": test, "p": row[f"{test}_p"], "q": row[f"{test}_q"]}
            for row in records(own)
            for test in TEST_WORDS
            if row[f"{test}_q"] < FALSE_DISCOVERIES
        ]
        # Of a covariate and a feature the test with the smaller q is named.
        best: dict[tuple[str, str], dict[str, Any]] = {}
        for row in sorted(rows, key=lambda row: (row["q"], row["p"])):
            best.setdefault((row["covariate"], row["feature"]), row)
        if not best:
            continue
        named = join_words(
            f"{row['covariate']} × {in_sentence(row['feature'])} ({TEST_NAMES[row['test']]} "
            f"p {probability(row['p'], '= ')}, q {probability(row['q'], '= ')}, n = {int(row['n'])} patients)"
            for row in list(best.values())[:NAMED]
        )
        more = f", and {len(best) - NAMED} more" if len(best) > NAMED else ""
        said.append(f"In {mask} masks the shape of {own['region'].iloc[0]} goes along with covariates: {named}{more}.")
    return said


def association_table(pair: Pair, tested: pd.DataFrame) -> Table:
    """Return the associations with the smallest q."""
    rows = [
        [
            Cell(row["covariate"]),
            Cell(FEATURE_WORDS[row["feature"]]),
            Cell(row["mask"]),
            count_cell(row["n"]),
            text_cell(row["levels"]),
            *(probability_cell(row[f"fisher_{name}"]) for name in "pq"),
            number_cell(row["kruskal_h"], 2),
            *(probability_cell(row[f"kruskal_{name}"]) for name in "pq"),
            text_cell(row["note"]),
        ]
        for row in records(tested.head(SHOWN_ASSOCIATIONS))
    ]
    columns = [
        *("Covariate", "Feature", "Mask", "Patients", "Above the median, of all"),
        *("Fisher p", "Fisher q", "Kruskal–Wallis H", "Kruskal p", "Kruskal q", "Note"),
    ]
    caption = f"Shape and covariates of {pair.name}, the smallest q first."
    return without_empty(Table(caption, columns, rows, frozenset({3, 5, 6, 7, 8, 9}), headers=2))


def untested_words(associations: pd.DataFrame, tested: pd.DataFrame) -> str:
    """Return which covariates were not tested, each with its reason; nothing where all were."""
    rest = associations[~associations["covariate"].isin(tested["covariate"])].drop_duplicates("covariate")
    if rest.empty:
        return ""
    reasons = "; ".join(f"{row['covariate']} ({row['note']})" for row in records(rest))
    return f"Not tested: {reasons}."
