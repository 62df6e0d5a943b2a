"""Extract radiomic features of one shard of a set's cases: of all that were scored, or of the extremes.

Inputs:  ``scores`` (the set's score table), ``manifest``, ``predictions``; ``extremes`` where only they are read.
Outputs: ``radiomics``, the shard's table, a row for each case, image and region: case_id, patient_id, image, mask, region,
         grey_levels, one column a feature, note; the cases in the order of ``scores``, and of each the images and regions as
         they are given.
         A case whose mask is too small for features keeps its row, with the features empty and a note; so does one that
         lacks the channel: what takes its place shows something else, and its features would not be the channel's.
Params:  ``images`` (channels), ``mask`` (truth or prediction), ``regions``, ``ranked`` (the region whose scores name the
         cases), ``shard`` (``<i>-of-<n>``), ``parameters`` (pyradiomics' imageType, featureClass and setting) and ``cache``,
         the file that keeps finished rows for a job that was killed or merely reruns, beside those of the other shards.
Threads: one row each.
"""

from collections import Counter
from typing import Any

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, count, run_script
from glioflow.failure.feature_cases import FeatureCase, feature_cases, feature_key, read_case, shard_cases
from glioflow.failure.radiomics import extract_features
from glioflow.failure.radiomics_parameters import Parameters, feature_names
from glioflow.failure.radiomics_table import features_table
from glioflow.files import write_table
from glioflow.models.predictions import read_predictions


def extract_case(case: FeatureCase, parameters: Parameters) -> dict[str, Any]:
    """Return the fields of a case's ``Extraction``."""
    found = extract_features(*read_case(case), parameters)
    return {
        "features": found.features,
        "grey_levels": found.grey_levels,
        "note": case.told(found.note),
        "warnings": sorted(set(found.warnings)),
    }


def main(snakemake: Any, console: Console) -> str:
    """Write the shard's table."""
    params, tables = snakemake.params, snakemake.input
    scored = shard_cases(tables, params)
    manifest, predictions = read_manifest(tables.manifest), read_predictions(tables.predictions)
    cases = feature_cases(list(scored["case_id"]), manifest, predictions, params.images, params.mask, params.regions)
    names = feature_names(params.parameters)  # loads pyradiomics here, once, and not in every process
    code = module_fingerprint("extract_radiomics")
    shown = {case.name: case for case in cases if not case.substitute_note}
    results, computed = compute_cases(
        extract_case,
        shown,
        params.parameters,
        threads=snakemake.threads,
        console=console,
        what="rows",
        cache=CaseCache(params.cache, of_set=True),
        keys={name: feature_key(case, params.parameters, code=code) for name, case in shown.items()},
    )
    without = [case for case in cases if case.substitute_note]
    results |= {c.name: {"features": {}, "grey_levels": None, "note": c.substitute_note, "warnings": []} for c in without}
    warned = Counter(message for extraction in results.values() for message in extraction["warnings"])
    for message, rows_warned in warned.items():
        console.note(f"pyradiomics, {count(rows_warned, 'row')}: {message}")

    patients = dict(zip(scored["case_id"], scored["patient_id"], strict=True))
    table = [
        {
            "case_id": case.files.case_id,
            "patient_id": patients[case.files.case_id],
            "image": case.image,
            "mask": case.mask,
            "region": case.region,
            **results[case.name],
        }
        for case in cases
    ]
    write_table(snakemake.output.radiomics, features_table(table, names))
    kept = f", {len(shown) - computed} kept from before" if computed < len(shown) else ""
    lacking = f", {len(without)} without their image" if without else ""
    rows = "" if len(cases) == len(scored) else f", {count(len(cases), 'row')}"
    return f"{count(len(scored), 'case')}{rows}, {len(names)} features{kept}{lacking}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
