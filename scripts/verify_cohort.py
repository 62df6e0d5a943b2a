"""Read every file of a cohort once: check it, hash it, and bring its labels to canonical values.

Inputs: ``cases.csv``. Params: ``scheme`` (raw value to canonical), ``scheme_name``, ``channels`` (those that the study
needs), ``on_geometry_mismatch``, ``labels`` (folder for canonical label maps), ``ledger``, ``demands`` (what the study asks
of the cohort: test_fraction, seed, folds, extremes by set). Outputs: ``manifest.csv`` (one row a readable case: paths, SHA-256
of every file's content, geometry, volumes, covariates) and ``verification.csv`` (one row a problem). The pass never stops at
a problem: the table lists them all, and ``split_cohort`` refuses a cohort with an error.

A label map whose values are canonical already and whose header agrees with its image is used where it lies; any other is
written once, as uint8 on its image's grid, into the ``labels`` folder.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.config import label_schemes
from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_table, sha256_file, write_table
from glioflow.labels import REGIONS, canonical_labels, fitting_schemes, region_mask, unknown_values
from glioflow.layouts import CHANNELS, ROLES
from glioflow.ledger import Ledger
from glioflow.parallel import map_unordered
from glioflow.splits import split_cases
from glioflow.volumes import Volume, affine_distance_mm, orientation, read_volume, same_geometry, write_volume
from select_extremes import largest_extremes

CASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
AFFINE_DECIMALS = 3  # mm; what an affine is rounded to before it is hashed
CHECKS_VERSION = 2  # raise it when a check changes, so that cases checked before are checked again
PROBLEM_COLUMNS = ["case_id", "patient_id", "file", "severity", "problem", "found", "expected", "message"]


class CaseCheck:
    """Collects the problems of one case while its files are read."""

    def __init__(self, case: Mapping[str, Any], rules: Mapping[str, Any]) -> None:
        self.case = case
        self.rules = rules
        self.problems: list[dict[str, str]] = []
        self.row: dict[str, Any] = {}
        self.reference: Volume | None = None  # the geometry every other file is held against
        self.reference_path = ""

    def report(self, file: str, problem: str, found: str, expected: str, severity: str = "error") -> None:
        """Record one problem; its message says case, file, what was found and what would be right."""
        self.problems.append(
            problem_row(self.case["case_id"], file, problem, found, expected, severity, self.case["patient_id"])
        )

    def check(self) -> dict[str, Any]:
        """Read the case's files; return its manifest row (empty values where a file failed) and its problems."""
        if not CASE_ID.fullmatch(self.case["case_id"]):
            found = f"the case id {self.case['case_id']!r}"
            self.report("", "case_id", found, "letters, digits, '.', '_' and '-' only: the id becomes a file name")
            return {"row": {}, "problems": self.problems}
        for channel in CHANNELS:
            if channel in self.case or channel in self.rules["channels"]:
                self.check_channel(channel)
        self.check_label()
        return {"row": self.row, "problems": self.problems}

    def check_channel(self, channel: str) -> None:
        """Check one image: readable, finite, not constant, on the grid of the case's other images."""
        path = self.case.get(channel)
        if not path or not Path(path).exists():
            if channel in self.rules["channels"]:
                self.report(
                    path or "", "missing_channel", f"no file for channel {channel}", "an image, or a model without this channel"
                )
            return
        volume = self.read(path)
        if volume is None:
            return
        self.row |= {channel: path, f"{channel}_sha256": sha256_file(path)}
        if volume.data.dtype.kind == "f" and (bad := int(volume.data.size - np.isfinite(volume.data).sum())):
            self.report(path, "non_finite_voxels", count(bad, "voxel") + " that are NaN or infinite", "finite intensities")
        elif volume.data.size and volume.data.min() == volume.data.max():
            self.report(path, "constant_image", f"every voxel is {volume.data.flat[0]}", "an image with contrast")
        if self.reference is None:
            shape = "x".join(map(str, volume.data.shape))
            spacing = "x".join(f"{edge:.6g}" for edge in volume.spacing)
            self.row |= {"shape": shape, "spacing_mm": spacing, "orientation": orientation(volume)}
            self.reference = Volume(np.broadcast_to(np.uint8(0), volume.data.shape), volume.affine)
            self.reference_path = path
        else:
            self.check_geometry(path, volume)

    def read(self, path: str) -> Volume | None:
        """Return the volume, or None once the problem is reported."""
        try:
            volume = read_volume(path)
        except UserError as error:
            found = str(error).removeprefix(f"{path}: ")
            self.report(path, "unreadable", found, "a 3D NIfTI image (.nii or .nii.gz); copy or download the file again")
            return None
        if not np.isfinite(volume.affine).all() or abs(np.linalg.det(volume.affine[:3, :3])) < 1e-9:
            self.report(
                path, "affine", "an affine that is not finite or not invertible", "a header with the voxels' place in mm"
            )
            return None
        return volume

    def check_geometry(self, path: str, volume: Volume, severity: str = "error") -> bool:
        """Hold a volume against the reference; return whether its shape agrees."""
        assert self.reference is not None
        name = Path(self.reference_path).name
        if volume.data.shape != self.reference.data.shape:
            self.report(path, "shape_mismatch", f"shape {volume.data.shape}", f"{self.reference.data.shape} as {name}")
            return False
        if not same_geometry(volume, self.reference):
            apart = affine_distance_mm(volume, self.reference)
            found = f"an affine that puts a corner {apart:.3g} mm from that of {name} (orientation {orientation(volume)})"
            expected = f"one affine for the whole case (orientation {orientation(self.reference)})"
            if severity == "error":
                expected += "; if the voxels correspond by index, set on_geometry_mismatch: use_image_header"
            self.report(path, "affine_mismatch", found, expected, severity)
        return True

    def check_label(self) -> None:
        """Check the label map, bring it to canonical values and measure it."""
        path = self.case.get("label")
        if not path or not Path(path).exists():
            self.report(
                path or "", "missing_label", "no label map", "the truth: a case without one cannot be trained on or scored"
            )
            return
        volume = self.read(path)
        if volume is None:
            return
        scheme = {int(raw): int(label) for raw, label in self.rules["scheme"].items()}
        trusted = self.rules["on_geometry_mismatch"] == "use_image_header"
        if self.reference is not None and not self.check_geometry(path, volume, "warning" if trusted else "error"):
            return
        if unknown := unknown_values(volume.data, scheme):
            self.report_unknown(path, unknown, [float(v) for v in np.unique(volume.data)], scheme)
            return
        labels = canonical_labels(volume.data, scheme)
        if not labels.any():
            self.report(path, "empty_label", "no labelled voxel", "a tumour", "warning")
        affine = volume.affine if self.reference is None else self.reference.affine
        in_place = all(raw == label for raw, label in scheme.items()) and volume.data.dtype.kind in "iu"
        in_place = in_place and (self.reference is None or same_geometry(volume, self.reference))
        canonical = Volume(labels, affine)
        if not in_place:
            path = f"{self.rules['labels']}/{self.case['case_id']}.nii.gz"
            write_volume(path, canonical)
        place = (np.round(affine, AFFINE_DECIMALS) + 0.0).tolist()  # + 0.0 makes -0.0 and 0.0 one
        digest = hashlib.sha256(f"{labels.shape}{place}".encode() + labels.tobytes()).hexdigest()
        volumes = {f"volume_{r}_ml": float(region_mask(labels, r).sum() * canonical.voxel_ml) for r in REGIONS}
        self.row |= {"label": path, "label_sha256": digest, **volumes}

    def report_unknown(self, path: str, unknown: list[float], values: list[float], scheme: Mapping[int, int]) -> None:
        """Report label values outside the scheme, naming a scheme that would know them all."""
        expected = f"values 0, {', '.join(map(str, scheme))} of the scheme {self.rules['scheme_name']!r}"
        if fitting := fitting_schemes(values, label_schemes()):
            expected += f"; {count(len(fitting), 'scheme')} would fit: {', '.join(fitting)}"
        found = f"label {'value' if len(unknown) == 1 else 'values'} {', '.join(f'{v:g}' for v in unknown[:10])}"
        self.report(path, "unknown_label", found, expected)


def problem_row(
    case_id: str, file: str, problem: str, found: str, expected: str, severity: str = "error", patient_id: str = ""
) -> dict[str, str]:
    """Return a row of verification.csv."""
    where = ", ".join(part for part in (case_id, file) if part)
    message = f"{where}: found {found}; expected {expected}" if where else f"found {found}; expected {expected}"
    values = (case_id, patient_id, file, severity, problem, found, expected, message)
    return dict(zip(PROBLEM_COLUMNS, values, strict=True))


def check_case(case: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"row": manifest values, "problems": rows of verification.csv}`` of one case."""
    return CaseCheck(case, rules).check()


def files_key(case: Mapping[str, Any], rules: Mapping[str, Any]) -> str:
    """Return the key under which a checked case stays checked: its files' size and time of change, and the rules."""
    stamps = {}
    for role in ROLES:
        if case.get(role) and Path(case[role]).exists():
            stat = Path(case[role]).stat()
            stamps[role] = [case[role], stat.st_size, stat.st_mtime_ns]
    return key_of({"case": case["case_id"], "files": stamps, "rules": {**rules}, "version": CHECKS_VERSION})


def check_identity(cases: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return problems between cases: an id used twice, and one image under two ids."""
    problems = []
    known: set[str] = set()
    image_of: dict[str, str] = {}
    for case, row in zip(cases, rows, strict=True):
        case_id = case["case_id"]
        if case_id in known:
            found, expected = f"a second case with the id {case_id!r}", "one row a case, each with its own id"
            problems.append(problem_row(case_id, case.get("label") or "", "duplicate_case", found, expected))
            continue
        known.add(case_id)
        for channel in CHANNELS:
            digest = row.get(f"{channel}_sha256")
            if digest and image_of.setdefault(digest, case_id) != case_id:
                found = f"the very image of case {image_of[digest]}"
                problems.append(problem_row(case_id, row[channel], "duplicate_image", found, "an image of its own"))
    return problems


def check_demands(manifest: pd.DataFrame, demands: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what the study asks of the cohort and the cohort cannot give: cases at all, folds, extremes."""
    if manifest.empty:
        return [problem_row("", "", "empty_cohort", "no case", f"cases in {demands['source']}")]
    problems = []
    sized = manifest.assign(volume_WT_ml=manifest.get("volume_WT_ml", 0.0))
    split = split_cases(sized, demands["test_fraction"], demands["seed"], [])
    training = split.loc[split["set"] == "train", "patient_id"].nunique()
    for folds in demands["folds"]:
        if folds > training:
            found = f"{count(training, 'training patient')} for {folds} folds"
            problems.append(problem_row("", "", "too_few_cases", found, f"folds: {training} at most, or more cases"))
    sizes = {"cv": int((split["set"] == "train").sum()), "test": int((split["set"] == "test").sum())}
    for set_name in demands["failure_sets"]:
        size = sizes.get(set_name, len(split))
        if demands["extremes"] > largest_extremes(size):
            found = f"failure.extremes: {demands['extremes']} for a set {set_name!r} of {count(size, 'case')}"
            expected = f"{largest_extremes(size)} at most, so that no case is both among the worst and the best"
            problems.append(problem_row("", "", "too_many_extremes", found, expected))
    return problems


def verify_cases(
    cases: Sequence[Mapping[str, Any]], rules: Mapping[str, Any], ledger: Ledger, threads: int, console: Console
) -> tuple[list[dict[str, Any]], int]:
    """Return what ``check_case`` finds in each case, in their order, and how many were not in the ledger."""
    seen: Counter[str] = Counter()
    names = []
    for case in cases:  # an id used twice is a problem to report, and must not hide in the ledger
        seen[case["case_id"]] += 1
        names.append(f"{case['case_id']}#{seen[case['case_id']]}")
    keys = [files_key(case, rules) for case in cases]
    checked: dict[int, dict[str, Any]] = {}
    for index, (name, key) in enumerate(zip(names, keys, strict=True)):
        value = ledger.get(name, key)
        if value and Path(value["row"].get("label", ".")).exists():
            checked[index] = value
    waiting = [index for index in range(len(cases)) if index not in checked]
    work = map_unordered(_check_indexed, [(index, cases[index]) for index in waiting], threads, rules)
    for (index, _), value in console.track(work, len(waiting), "cases verified"):
        ledger.put(names[index], keys[index], value)
        checked[index] = value
    return [checked[index] for index in range(len(cases))], len(waiting)


def _check_indexed(item: tuple[int, Mapping[str, Any]], rules: Mapping[str, Any]) -> dict[str, Any]:
    return check_case(item[1], rules)


def read_cases(path: str) -> list[dict[str, Any]]:
    """Return the rows of cases.csv without their empty cells; identifiers as text."""
    rows = read_table(path).to_dict("records")
    cases = [{str(key): value for key, value in row.items() if not pd.isna(value)} for row in rows]
    for case in cases:
        case["case_id"] = str(case.get("case_id", ""))
        case["patient_id"] = str(case.get("patient_id", case["case_id"]))
    return cases


def main(snakemake: Any, console: Console) -> str:
    """Write manifest.csv and verification.csv."""
    params = snakemake.params
    cases = read_cases(snakemake.input[0])
    rules = {
        "scheme": params.scheme,
        "scheme_name": params.scheme_name,
        "channels": list(params.channels),
        "on_geometry_mismatch": params.on_geometry_mismatch,
        "labels": params.labels,
    }
    checked, read = verify_cases(cases, rules, Ledger(params.ledger), snakemake.threads, console)
    rows = [value["row"] for value in checked]
    manifest = assemble(cases, rows)
    problems = [problem for value in checked for problem in value["problems"]]
    problems += check_identity(cases, rows)
    problems += check_demands(manifest, params.demands)
    write_table(snakemake.output.manifest, manifest)
    write_table(snakemake.output.verification, pd.DataFrame(problems, columns=PROBLEM_COLUMNS))
    errors = sum(problem["severity"] == "error" for problem in problems)
    found = f"{count(errors, 'error')}, {count(len(problems) - errors, 'warning')}" if problems else "no problem"
    return f"{count(len(cases), 'case')}, {read} read, {found}"


def assemble(cases: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return manifest.csv: the cases that have a row, the first of each id, measured values before covariates."""
    records: dict[str, dict[str, Any]] = {}
    for case, row in zip(cases, rows, strict=True):
        if row and case["case_id"] not in records:
            covariates = {key: value for key, value in case.items() if key not in (*ROLES, *row)}
            records[case["case_id"]] = {**covariates, **row}
    used = [channel for channel in CHANNELS if any(channel in record for record in records.values())]
    measured = [
        "case_id", "patient_id", *used, "label", "shape", "spacing_mm", "orientation",
        *[f"{channel}_sha256" for channel in used], "label_sha256", *[f"volume_{region}_ml" for region in REGIONS],
    ]  # fmt: skip
    further = dict.fromkeys(key for record in records.values() for key in record if key not in measured)
    return pd.DataFrame(list(records.values()), columns=[*measured, *further])


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
