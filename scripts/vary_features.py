"""Extract the features of one shard of a set's cases again, under what may as well have been measured.

Inputs:  ``scores``, ``manifest``, ``predictions``; ``extremes`` where only they are read: as of extract_radiomics.
Outputs: ``features``, the shard's table: case_id, patient_id, image, mask, region, grey_levels, variant, one column a feature,
         note; a row for each case, image, region and variant.
Params:  ``kind``: ``stability`` (the mask eroded and dilated, noise added) or ``binning`` (other bins and the other
         normalisation); ``images``, ``mask``, ``regions``, ``ranked``, ``shard``, ``parameters`` and ``cache``: as of
         extract_radiomics.
Threads: one case each.
"""

from typing import Any

import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, count, run_script
from glioflow.failure.feature_cases import FeatureCase, feature_cases, feature_key, read_case, shard_cases
from glioflow.failure.feature_variants import PERTURBATIONS, binning_variants, perturb
from glioflow.failure.radiomics import extract_features
from glioflow.failure.radiomics_parameters import Parameters, feature_names
from glioflow.failure.radiomics_table import features_table
from glioflow.files import write_table
from glioflow.models.predictions import read_predictions

STABILITY, BINNING = "stability", "binning"


def vary_case(case: FeatureCase, kind: str, parameters: Parameters) -> list[dict[str, Any]]:
    """Return a row for each variant of a case: variant, features, grey_levels, note."""
    image, mask = read_case(case)
    seed = int(case.files.image_sha256[:8], 16)
    rows = []
    variants = binning_variants(parameters) if kind == BINNING else dict.fromkeys(PERTURBATIONS, parameters)
    for name, used in variants.items():
        found = extract_features(*(perturb(image, mask, name, seed) if mask.shape == image.data.shape else (image, mask)), used)
        rows.append(
            {"variant": name, "features": found.features, "grey_levels": found.grey_levels, "note": case.told(found.note)}
        )
    return rows


def main(snakemake: Any, console: Console) -> str:
    """Write the shard's table."""
    params, tables = snakemake.params, snakemake.input
    scored = shard_cases(tables, params)
    manifest, predictions = read_manifest(tables.manifest), read_predictions(tables.predictions)
    every = feature_cases(list(scored["case_id"]), manifest, predictions, params.images, params.mask, params.regions)
    cases = {case.name: case for case in every if not case.substitute_note}
    names = feature_names(params.parameters)
    code = module_fingerprint("vary_features")
    results, computed = compute_cases(
        vary_case,
        cases,
        params.kind,
        params.parameters,
        threads=snakemake.threads,
        console=console,
        what="rows",
        cache=CaseCache(params.cache, of_set=True),
        keys={name: feature_key(case, params.parameters, code=code, kind=params.kind) for name, case in cases.items()},
    )
    patients = dict(zip(scored["case_id"], scored["patient_id"], strict=True))
    rows = [
        {**case.head, "patient_id": patients[case.files.case_id], **row}
        for case in cases.values()
        for row in results[case.name]
    ]
    table = features_table(rows, names)
    table.insert(6, "variant", pd.Series([row["variant"] for row in rows], dtype="string"))
    write_table(snakemake.output.features, table)
    kept = f", {len(cases) - computed} kept from before" if computed < len(cases) else ""
    return f"{count(len(scored), 'case')}, {count(len(rows), 'row')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
