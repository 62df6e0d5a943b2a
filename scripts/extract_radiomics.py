"""Extract radiomic features of one shard of a set's cases: of all that were scored, or of the extremes.

Inputs:  ``scores`` (the set's score table), ``manifest``, ``predictions``; ``extremes`` where only they are read.
Outputs: ``radiomics``, the shard's table: case_id, patient_id, image, mask, region, one column a feature, note; in the order of
         ``scores``.
         A case whose mask is too small for features keeps its row, with the features empty and a note; so does one that
         lacks the channel: what takes its place shows something else, and its features would not be the channel's.
Params:  ``image`` (channel), ``mask`` (truth or prediction), ``region``, ``shard`` (from 0) of ``shards``, ``settings``
         (bin_width, normalise, normalise_scale) and ``cache``, the file that keeps finished cases for a job that was killed
         or merely reruns.
Threads: one case each.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.score_tables import read_scores
from glioflow.failure.case_files import CaseFiles, find_case_files
from glioflow.failure.radiomics import complete_settings, extract_features, extraction_key, feature_names
from glioflow.files import key_of, read_table, write_table
from glioflow.imaging.labels import region_mask
from glioflow.imaging.volumes import read_labels, read_volume
from glioflow.models.predictions import read_predictions

MASKS = ("truth", "prediction")


def shard_of(cases: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Return every ``shards``-th row of ``cases``, from row ``shard`` on."""
    return cases.iloc[shard::shards]


def case_key(files: CaseFiles, mask: str, region: str, settings: Mapping[str, Any]) -> str:
    """Return the content key of a case's features: it changes with anything that could change a value."""
    mask_sha256 = files.truth_sha256 if mask == "truth" else files.prediction_sha256
    parts = {"image": files.image_sha256, "mask": mask_sha256, "region": region, **extraction_key(settings)}
    return key_of({"code": module_fingerprint("extract_radiomics"), **parts})


def extract_case(files: CaseFiles, mask: str, region: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the ``Extraction`` of ``region`` in the case's truth or prediction.

    Raises ``UserError`` where image and mask differ in shape.
    """
    image = read_volume(files.image)
    mask_path = files.truth if mask == "truth" else files.prediction
    labels = read_labels(mask_path).data
    if labels.shape != image.data.shape:
        raise UserError(
            f"{files.case_id}: {mask_path} has shape {labels.shape}, but {files.image} has {image.data.shape}; "
            "a mask must have its image's shape"
        )
    found = extract_features(image, region_mask(labels.astype(np.uint8, copy=False), region), settings)
    note = f"{region} of the {mask}: {found.note}" if found.note else ""
    return {"features": found.features, "note": note, "warnings": sorted(set(found.warnings))}


def substitute_note(files: CaseFiles, channel: str) -> str:
    """Return why a case that lacks a channel has no features of it."""
    return f"{files.case_id} has no {channel}; {files.substitute} takes its place, and no features are computed"


def main(snakemake: Any, console: Console) -> str:
    """Write the shard's table."""
    params = snakemake.params
    if params.mask not in MASKS:
        raise UserError(f"mask: {params.mask} is not one of {', '.join(MASKS)}")
    settings = complete_settings(params.settings)
    chosen = read_scores(snakemake.input.scores, params.region, ())
    if extremes := getattr(snakemake.input, "extremes", ""):
        chosen = chosen[chosen["case_id"].isin(read_table(extremes)["case_id"])]
    rows = shard_of(chosen, params.shard, params.shards)
    cases = find_case_files(
        rows["case_id"], read_manifest(snakemake.input.manifest), read_predictions(snakemake.input.predictions), params.image
    )
    names = list(feature_names())  # loads pyradiomics here, once, and not in every process
    shown = [case for case in cases if not case.substitute]
    results, computed = compute_cases(
        extract_case,
        {case.case_id: case for case in shown},
        params.mask,
        params.region,
        settings,
        threads=snakemake.threads,
        console=console,
        what="cases",
        cache=CaseCache(params.cache),
        keys={case.case_id: case_key(case, params.mask, params.region, settings) for case in shown},
    )
    notes_of = {case.case_id: substitute_note(case, params.image) for case in cases if case.substitute}
    results |= {case_id: {"features": {}, "note": note, "warnings": []} for case_id, note in notes_of.items()}
    warned = Counter(message for extraction in results.values() for message in extraction["warnings"])
    for message, cases_warned in warned.items():
        console.note(f"pyradiomics, {count(cases_warned, 'case')}: {message}")

    table = rows[["case_id", "patient_id"]].reset_index(drop=True)
    table = table.assign(image=params.image, mask=params.mask, region=params.region)
    features = pd.DataFrame([results[c]["features"] for c in rows["case_id"]], columns=names, dtype=float)
    notes = pd.Series([results[c]["note"] or pd.NA for c in rows["case_id"]], name="note", dtype="string")
    write_table(snakemake.output.radiomics, pd.concat([table, features, notes], axis=1))
    kept = len(shown) - computed
    without = f", {len(notes_of)} without {params.image}" if notes_of else ""
    return f"{count(len(cases), 'case')}, {len(names)} features{f', {kept} kept from before' if kept else ''}{without}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
