"""Score a folder of masks against another, by hand: no configuration, no workflow.

    python scripts/score_folders.py truth/ predictions/ --truth-scheme brats2021 --prediction-scheme brats2023 --out scores.csv

Masks of one case are found by their names: a case's id is the name without ``.nii.gz`` and what tools append to it (``_seg``,
``-seg``, ``_pred`` …), in any folder below; images beside them (``_flair`` …) are left out. Other names are given by patterns,
``--truth-pattern "{case}/{case}_seg.nii.gz"``. Values become canonical labels by the two label schemes
(config/label_schemes.yaml), and each pair is scored as ``score_cases`` does it, under a convention of config/conventions. The
table goes to the terminal, in full with ``--out``: the columns of results/scores/<model>/<set>.csv (docs/metrics.md), with
``_voxels`` for ``_mm`` where the convention measures in voxels.

Everything that is wrong with any file is listed at once, and nothing is scored then. Warnings are printed at the end.
"""

import argparse
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import compute_cases
from glioflow.console import Console, UserError, clock, count
from glioflow.evaluation.conventions import DEFAULT_CONVENTION, conventions, lesion_conventions
from glioflow.evaluation.score_tables import ROW_COLUMNS
from glioflow.evaluation.scoring import Plan, geometry_problems, score_pair, score_table, with_missing_note
from glioflow.files import write_table
from glioflow.formatting import number
from glioflow.imaging.headers import ONE_READING
from glioflow.imaging.labels import REGIONS, Labels, scheme_regions
from glioflow.imaging.placement import USE_IMAGE_HEADER, place_mask
from glioflow.imaging.volumes import UnreadableVolumeError, Volume, read_volume
from glioflow.models.precomputed import Counts, MaskPair, count_labels, find_masks, labels_as, scheme_warnings
from glioflow.study.metric_registry import find_metric
from glioflow.study.registry import label_schemes

BY_INDEX = f"; if the voxels correspond by index, add --on-geometry-mismatch {USE_IMAGE_HEADER}"
# Shown at the terminal besides what the convention's users rank by.
SHOWN = ("dice", "sens", "hausdorff", "hd95_mm")
STATISTICS = ("mean", "median")


@dataclass(frozen=True)
class Rules:
    """How the masks are read: names of the label schemes, and what a header that disagrees with the truth's leads to."""

    truth_scheme: str
    prediction_scheme: str
    on_geometry_mismatch: str = "error"


@dataclass(frozen=True)
class Mask:
    """A mask as its file has it, and its canonical labels (x, y, z); none where a value is not in its label scheme."""

    raw: Volume
    labels: Labels | None


# Of a pair: its scores, one for each region, and how its values meet the truth's labels.
Scored = tuple[list[dict[str, Any]], Counts]


def pair_masks(
    truths: Mapping[str, Sequence[str]],
    predictions: Mapping[str, Sequence[str]],
    on_missing: str = "error",
    ignore_extra: bool = False,
) -> tuple[list[MaskPair], list[str]]:
    """Return the pairs of two folders' masks by case id, and what is wrong: two of a case, none of a case, or no such case."""
    pairs, problems = [], list[str]()
    for case in sorted({*truths, *predictions}):
        for what, paths in (("truths", truths.get(case, ())), ("predictions", predictions.get(case, ()))):
            if len(paths) > 1:
                problems.append(f"{case}: found {len(paths)} {what}, {', '.join(paths)}; expected one (a pattern tells which)")
        if case not in truths:
            if not ignore_extra:
                right = "expected one; add --ignore-extra to leave such predictions out"
                problems.append(f"{case}, {predictions[case][0]}: found no truth of this case; {right}")
            continue
        if case not in predictions and on_missing == "error":
            right = "expected one; add --on-missing count_as_empty to score it as an empty mask"
            problems.append(f"{case}, {truths[case][0]}: found no prediction of this case; {right}")
        pairs.append(MaskPair(case, truths[case][0], predictions[case][0] if case in predictions else None))
    return pairs, problems


def read_mask(case: str, path: str, scheme: str) -> tuple[Mask | None, list[str]]:
    """Return a mask, None where it is not readable, and all that is wrong with it."""
    try:
        raw = read_volume(path)
    except UnreadableVolumeError as error:
        return None, [f"{case}, {error}"]
    labels, problems = labels_as(raw.data, scheme, label_schemes()[scheme])
    return Mask(raw, labels), [f"{case}, {path}: {problem}" for problem in problems]


def score_masks(pair: MaskPair, rules: Rules, plan: Plan | None) -> Scored:
    """Read a pair's masks and score them by the plan; without one they are only checked.

    Raises ``UserError``, with a line for each problem, where they cannot be scored.
    """
    truth, problems = read_mask(pair.case_id, pair.truth, rules.truth_scheme)
    if truth and not truth.raw.is_placed:
        problems.append(f"{pair.case_id}, {pair.truth}: found {truth.raw.misplaced}; expected {ONE_READING}")
    if pair.prediction:
        prediction, wrong = read_mask(pair.case_id, pair.prediction, rules.prediction_scheme)
        problems.extend(wrong)
    elif truth:
        empty = np.zeros(truth.raw.data.shape, np.uint8)
        prediction = Mask(Volume(empty, truth.raw.affine), empty)
    else:
        prediction = None
    if truth and prediction:
        placed = place_mask(prediction.raw, truth.raw, rules.on_geometry_mismatch)
        wrong = list(geometry_problems(truth.raw, placed, BY_INDEX))
        problems.extend(f"{pair.case_id}, {pair.prediction}: {problem}" for problem in wrong)
    if problems:
        raise UserError(*problems)
    if plan is None or not (truth and prediction) or truth.labels is None or prediction.labels is None:
        return [], {}
    scores = score_pair(truth.labels, prediction.labels, truth.raw.spacing, plan)
    told = [score if pair.prediction else with_missing_note(score) for score in scores]
    return told, count_labels(truth.labels, prediction.raw.data)


def scored_regions(wanted: Sequence[str] | None, rules: Rules) -> list[str]:
    """Return the regions to score: those wanted, or else those of WT, TC and ET that both label schemes have a label of.

    Raises ``UserError`` where one is wanted that a scheme has none of.
    """
    lacking = {
        region: [name for name in (rules.truth_scheme, rules.prediction_scheme) if not has_region(region, name)]
        for region in REGIONS
    }
    if problems := [f"{region} is not in the scheme {lacking[region][0]!r}" for region in wanted or () if lacking[region]]:
        raise UserError(f"--regions: {'; '.join(problems)}; known to both: {', '.join(r for r in REGIONS if not lacking[r])}")
    return list(dict.fromkeys(wanted or [region for region in ("WT", "TC", "ET") if not lacking[region]]))


def has_region(region: str, scheme: str) -> bool:
    """Tell whether masks of a label scheme can show a region."""
    return region in scheme_regions(label_schemes()[scheme].values())


def shown_columns(table: pd.DataFrame, plan: Plan, wanted: Sequence[str] | None) -> list[str]:
    """Return the metrics to show: those wanted, or what the convention's users rank by and a few more that are defined."""
    headline = plan.convention.headline
    found = dict.fromkeys(name for name in (headline.overlap, headline.distance, *SHOWN) if name and name in table)
    return list(wanted or [name for name in found if table[name].notna().any()])


def readable_table(table: pd.DataFrame, metrics: Sequence[str], names: Mapping[str, str]) -> str:
    """Return a score table as lines of text: a line a case and region, then mean and median of each region's defined values.

    ``names``: what columns are called, where that is not their name.
    """
    decimals = {name: find_metric(name).decimals for name in metrics}
    statistic_decimals = {name: find_metric(name).statistic_decimals for name in metrics}

    def cells(values: Mapping[str, Any], digits: Mapping[str, int]) -> list[str]:
        return [number(values[name], digits[name]) for name in metrics]

    notes = table["note"].astype("string").fillna("")
    lines = [["case", "region", *(names.get(name, name) for name in metrics), "note"]]
    for row, note in zip(table.to_dict("records"), notes, strict=True):
        lines.append([row["case_id"], row["label"], *cells(row, decimals), note])
    for statistic in STATISTICS:
        for region in dict.fromkeys(table["label"]):
            values = table.loc[table["label"] == region, list(metrics)].astype(float)
            lines.append([statistic, region, *cells(getattr(values, statistic)().to_dict(), statistic_decimals), ""])
    wide = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    ruled = {1, 1 + len(table)}
    text = []
    for place, line in enumerate(lines):
        if place in ruled:
            text.append("─" * (sum(wide[:-1]) + 2 * len(wide[:-1]) - 2))
        named = [cell.ljust(width) for cell, width in zip(line[:2], wide, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(line[2:-1], wide[2:], strict=False)]
        text.append("  ".join([*named, *numbers, line[-1]]).rstrip())
    return "\n".join(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description="Score a folder of masks against another.")
    made.add_argument("truth", type=Path, metavar="TRUTH_FOLDER")
    made.add_argument("predictions", type=Path, metavar="PREDICTION_FOLDER")
    schemes = list(label_schemes())
    made.add_argument("--truth-scheme", required=True, choices=schemes, help="what the truth's values mean")
    made.add_argument("--prediction-scheme", required=True, choices=schemes, help="what the predictions' values mean")
    made.add_argument("--convention", default=DEFAULT_CONVENTION, choices=list(conventions()), help="what the metrics mean")
    made.add_argument("--lesionwise", choices=lesion_conventions(), help="also score lesion by lesion, by its rules")
    made.add_argument(
        "--reproduce-defects", action="store_true", help="also what is known to be wrong in --lesionwise's script"
    )
    made.add_argument("--regions", nargs="+", choices=list(REGIONS), help="default: those of WT TC ET that both schemes have")
    made.add_argument("--metrics", nargs="+", metavar="COLUMN", help="columns to show (all are in --out)")
    made.add_argument("--match", metavar="PATTERN", help="pattern with {case} of the masks in both folders")
    made.add_argument("--truth-pattern", metavar="PATTERN", help="such as '{case}/{case}_seg.nii.gz'")
    made.add_argument("--prediction-pattern", metavar="PATTERN", help="the same for the predictions")
    made.add_argument(
        "--on-missing", default="error", choices=["error", "count_as_empty"], help="where a prediction is missing"
    )
    made.add_argument("--ignore-extra", action="store_true", help="leave out predictions without a truth")
    made.add_argument(
        "--on-geometry-mismatch",
        default="error",
        type=geometry_option,
        choices=["error", USE_IMAGE_HEADER],
        help="where only headers disagree: stop, or take a prediction's voxels by index and the truth's header",
    )
    made.add_argument("--out", type=Path, metavar="FILE.csv", help="write the whole table")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="default: every core")
    return made


def geometry_option(text: str) -> str:
    """Return a value of ``--on-geometry-mismatch``; one that it had once is refused with the word that it has."""
    if text == "use_truth_header":
        raise argparse.ArgumentTypeError(f"{text} is called {USE_IMAGE_HEADER}, as in a study's configuration")
    return text


def masks_in(folder: Path, pattern: str | None, option: str) -> dict[str, list[str]]:
    """Return the masks of a folder by case id. Raises ``UserError`` where there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: found no such folder; expected one of NIfTI masks")
    if pattern is not None and ("{case}" not in pattern or pattern.startswith("/")):
        right = "a path below the folder, with {case} where the case's id stands"
        raise UserError(f"{option}: found {pattern!r}; expected {right}")
    if masks := find_masks(folder, pattern):
        return masks
    named = f"named {pattern}" if pattern else f"(.nii or .nii.gz; other names: {option})"
    raise UserError(f"{folder}: found no mask; expected NIfTI files {named}")


def plan_of_command(command: argparse.Namespace, regions: Sequence[str]) -> Plan:
    """Return what a command line asks to be scored. Raises ``UserError`` where it cannot be."""
    lesionwise = conventions()[command.lesionwise] if command.lesionwise else None
    if command.reproduce_defects and not (lesionwise and lesionwise.defects):
        flawed = ", ".join(name for name, convention in conventions().items() if convention.defects)
        raise UserError(f"--reproduce-defects: needs --lesionwise with known defects: {flawed}")
    defects = [defect.name for defect in lesionwise.defects] if lesionwise and command.reproduce_defects else []
    lesions = lesionwise.lesions if lesionwise else None
    if lesions and conventions()[command.convention].units != "mm":
        raise UserError(f"--lesionwise: needs a convention in mm; {command.convention!r} measures in voxels")
    plan = Plan(regions, conventions()[command.convention], lesions=lesions, defects=defects)
    if unknown := [name for name in command.metrics or () if name not in metrics_of(plan)]:
        raise UserError(f"--metrics: no column is called {', '.join(unknown)}; known: {', '.join(metrics_of(plan))}")
    return plan


def metrics_of(plan: Plan) -> list[str]:
    """Return the columns of a plan that hold numbers."""
    return [name for name in plan.columns if name not in ROW_COLUMNS]


def score_all(
    pairs: Collection[MaskPair], rules: Rules, plan: Plan, problems: list[str], threads: int, console: Console
) -> tuple[pd.DataFrame, list[Counts]]:
    """Return the score table of all pairs and the counts of each. Raises ``UserError`` with every problem of any of them."""
    scored, _ = compute_cases(
        score_masks,
        {pair.case_id: pair for pair in pairs},
        rules,
        None if problems else plan,  # with a problem known they are only checked, so that all problems are reported soon
        threads=threads,
        console=console,
        what="cases checked" if problems else "cases scored",
        problems=problems,
    )
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in sorted(problems))
        raise UserError(f"{count(len(problems), 'problem')}, nothing was scored\n{lines}")
    rows = [
        {**score, "patient_id": pair.case_id, "case_id": pair.case_id} for pair in pairs for score in scored[pair.case_id][0]
    ]
    return score_table(rows, plan), [counts for _, counts in scored.values()]


def main(arguments: Sequence[str], console: Console) -> None:
    """Score what the command line names, print the table, and write it where that is asked for."""
    start = time.monotonic()
    command = parser().parse_args(arguments)
    rules = Rules(command.truth_scheme, command.prediction_scheme, command.on_geometry_mismatch)
    plan = plan_of_command(command, scored_regions(command.regions, rules))
    if command.out and (command.out.is_dir() or not command.out.absolute().parent.is_dir()):
        raise UserError(f"--out: {command.out} cannot be written; expected a file in a folder that exists")
    truths = masks_in(command.truth, command.truth_pattern or command.match, "--truth-pattern")
    predictions = masks_in(command.predictions, command.prediction_pattern or command.match, "--prediction-pattern")
    if not truths.keys() & predictions.keys():
        first = [f"{case!r} ({paths[0]})" for case, paths in (next(iter(masks.items())) for masks in (truths, predictions))]
        raise UserError(
            f"found no case in both folders, but truths such as {first[0]} and predictions such as {first[1]}; "
            "expected the same ids: tell them by --truth-pattern and --prediction-pattern"
        )
    pairs, problems = pair_masks(truths, predictions, command.on_missing, command.ignore_extra)
    table, counted = score_all(pairs, rules, plan, problems, command.threads, console)
    if command.out:
        write_table(command.out, table.rename(columns=plan.convention.own_names))
    print(readable_table(table, shown_columns(table, plan, command.metrics), plan.convention.own_names), flush=True)
    extra, missing = len(predictions.keys() - truths.keys()), sum(pair.prediction is None for pair in pairs)
    for number_of, what in ((extra, "without a truth left out"), (missing, "missing and counted as empty")):
        if number_of:
            console.say(f"warning: {count(number_of, 'prediction')} {what}")
    for warning in scheme_warnings(counted, rules.prediction_scheme, plan.regions):
        console.say(f"warning: {warning}")
    written = f", written to {command.out}" if command.out else ""
    took = clock(time.monotonic() - start)
    voxels = ", distances in voxels" if plan.convention.units == "voxels" else ""
    console.say(f"{count(len(pairs), 'case')}, convention {plan.convention.name}{voxels}{written} ({took})")


if __name__ == "__main__":
    terminal = Console(name="score_folders")
    try:
        main(sys.argv[1:], terminal)
    except UserError as error:
        terminal.say(f"stopped: {error}")
        sys.exit(1)
