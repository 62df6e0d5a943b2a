"""Layout ``patterns``: one NIfTI file a channel, at a place that the case's id gives.

A pattern is a path below the data set's folder: ``{case}`` stands for the case's id, ``**/`` at its beginning for any folders,
``*`` for any part of a name. ``.nii`` and ``.nii.gz`` both match.
"""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from glioflow.cohorts.layouts.listing import NIFTI, FoundCase, Listing, walk_files
from glioflow.cohorts.problems import problem_row
from glioflow.study.registry import ROLES, Dataset, Patterns, patient_of

# A case of which only files in other formats are there is found all the same, so that checking it reports what is wrong.
OTHER_FORMATS = ("gz", "mha", "mhd", "nrrd", "dcm", "img", "hdr", "mgz", "npy", "zip")
SUFFIX = rf"\.nii|(?:\.nii)?\.(?:{'|'.join(OTHER_FORMATS)})"


def alternatives(patterns: Patterns) -> list[str]:
    """Return one pattern or several as a list."""
    return [patterns] if isinstance(patterns, str) else list(patterns)


def pattern_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern; its groups are ``prefix`` (what ``**/`` stands for) and ``case``.

    It matches the path without its suffix .nii or .nii.gz, and has the suffix in the group ``suffix``.
    """
    prefix, tail = ("(?P<prefix>(?:.*/)?)", pattern[3:]) if pattern.startswith("**/") else ("(?P<prefix>)", pattern)
    stem = re.sub(r"\.nii(\.gz)?$", "", tail)
    body = re.escape(stem).replace(re.escape("*"), "[^/]*?")
    body = body.replace(re.escape("{case}"), "(?P<case>[^/]+?)", 1).replace(re.escape("{case}"), "(?P=case)")
    return re.compile(f"{prefix}{body}(?P<suffix>{SUFFIX})")


def find(folder: Path, dataset: Dataset) -> Listing:
    """Return every case of which any file is there; a missing file keeps the path where it should be."""
    assert dataset.files is not None
    paths, problems = walk_files(folder)
    patterns = {role: alternatives(dataset.files[role]) for role in ROLES if role in dataset.files}
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    prefixes: dict[str, str] = {}
    for role, options in patterns.items():
        for option in options:
            expression = pattern_expression(option)
            for path in paths:
                match = expression.fullmatch(path)
                if match is None:
                    continue
                prefixes.setdefault(match["case"], match["prefix"])
                matches = found[match["case"]][role]
                matches += [path] if match["suffix"] in NIFTI else []
    cases = []
    for case_id in sorted(found):
        patient_id = patient_of(case_id, dataset.patient_id)
        files: dict[str, str] = {}
        for role, options in patterns.items():
            expected = prefixes[case_id] + options[0].removeprefix("**/").replace("{case}", case_id)
            matches = sorted(set(found[case_id][role]), key=lambda path: (path.count("/"), path))
            files[role] = (folder / (matches[0] if matches else expected)).as_posix()
            if len(matches) > 1:
                text = f"{len(matches)} files for {role}: {', '.join(matches)}"
                problems.append(
                    problem_row(case_id, files[role], "two_files", text, "one; move the others away", patient_id=patient_id)
                )
        case = FoundCase(case_id, patient_id, files)
        cases.append(replace(case, covariates=path_covariates(case, folder, dataset)))
    return Listing(cases, problems)


def path_covariates(case: FoundCase, folder: Path, dataset: Dataset) -> dict[str, str]:
    """Return the covariates that the folders of a case give, such as HGG or LGG."""
    path = next(iter(case.files.values())).removeprefix(folder.as_posix())
    matches = {name: re.search(pattern, path) for name, pattern in dataset.covariates_in_path.items()}
    return {name: match[1] for name, match in matches.items() if match}
