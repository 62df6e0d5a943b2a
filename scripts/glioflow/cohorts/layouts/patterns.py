"""Layout ``patterns``: one NIfTI file a channel, at a place that the case's id gives.

A pattern is a path below the data set's folder. ``{case}`` stands for the case's id; where patients have a folder and their
sessions one in it, ``{patient}`` and ``{session}`` stand for these, and the case is ``<patient>_<session>``. ``{case,[0-9]+}``
takes only what the regular expression behind the comma matches. ``**/`` at the beginning stands for any folders, ``*`` for any
part of a name. ``.nii`` and ``.nii.gz`` both match.
"""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from glioflow.cohorts.layouts.listing import NIFTI, FoundCase, Listing, left_out, unlabelled, walk_files
from glioflow.cohorts.problems import problem_row
from glioflow.study.registry import ROLES, Dataset, Patterns, patient_of

# A case of which only files in other formats are there is found all the same, so that checking it reports what is wrong.
OTHER_FORMATS = ("gz", "mha", "mhd", "nrrd", "dcm", "img", "hdr", "mgz", "npy", "zip")
SUFFIX = rf"\.nii|(?:\.nii)?\.(?:{'|'.join(OTHER_FORMATS)})"
PLACEHOLDER = re.compile(r"\{(case|patient|session)(?:,([^{}]+))?\}")


def alternatives(patterns: Patterns) -> list[str]:
    """Return one pattern or several as a list."""
    return [patterns] if isinstance(patterns, str) else list(patterns)


def tells_case(pattern: str) -> bool:
    """Tell whether a pattern has what a case's id is taken from."""
    names = {match[1] for match in PLACEHOLDER.finditer(pattern)}
    return names in ({"case"}, {"patient", "session"})


def pattern_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern; its groups are ``prefix`` (what ``**/`` stands for) and the placeholders.

    It matches the path without its suffix .nii or .nii.gz, and has the suffix in the group ``suffix``.
    """
    prefix, tail = ("(?P<prefix>(?:.*/)?)", pattern[3:]) if pattern.startswith("**/") else ("(?P<prefix>)", pattern)
    stem = re.sub(r"\.nii(\.gz)?$", "", tail)
    body, end, known = "", 0, set[str]()
    for match in PLACEHOLDER.finditer(stem):
        name = match[1]
        body += _literal(stem[end : match.start()])
        body += f"(?P={name})" if name in known else f"(?P<{name}>{match[2] or '[^/]+?'})"
        known.add(name)
        end = match.end()
    return re.compile(f"{prefix}{body}{_literal(stem[end:])}(?P<suffix>{SUFFIX})")


def _literal(text: str) -> str:
    return re.escape(text).replace(re.escape("*"), "[^/]*?")


def _case_id(match: re.Match[str]) -> str:
    found = match.groupdict()
    return found.get("case") or f"{found['patient']}_{found['session']}"


def _filled(pattern: str, match: re.Match[str]) -> str:
    """Return the path that a pattern stands for, of the case that another pattern's match has found."""
    return match["prefix"] + PLACEHOLDER.sub(lambda holder: match[holder[1]], pattern.removeprefix("**/"))


def find(folder: Path, dataset: Dataset) -> Listing:
    """Return every case of which any file is there; a missing file keeps the path where it should be.

    Cases whose files are no part of the data set, and those without a label where it is labelled in part, are left out and
    counted in a warning each.
    """
    assert dataset.files is not None
    paths, problems = walk_files(folder)
    patterns = {role: alternatives(dataset.files[role]) for role in ROLES if role in dataset.files}
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    first: dict[str, re.Match[str]] = {}
    aside = set[str]()
    for role, options in patterns.items():
        for option in options:
            expression = pattern_expression(option)
            for path in paths:
                match = expression.fullmatch(path)
                if match is None:
                    continue
                case_id = _case_id(match)
                if dataset.leave_out and re.search(dataset.leave_out, path):
                    aside.add(case_id)
                    continue
                first.setdefault(case_id, match)
                matches = found[case_id][role]
                matches += [path] if match["suffix"] in NIFTI else []
    bare = [case_id for case_id in sorted(found) if dataset.labelled_in_part and not found[case_id]["label"]]
    cases = []
    for case_id in sorted(found.keys() - set(bare)):
        patient_id = patient_of(case_id, dataset)
        files: dict[str, str] = {}
        for role, options in patterns.items():
            matches = sorted(set(found[case_id][role]), key=lambda path: (path.count("/"), path))
            files[role] = (folder / (matches[0] if matches else _filled(options[0], first[case_id]))).as_posix()
            if len(matches) > 1:
                text = f"{len(matches)} files for {role}: {', '.join(matches)}"
                problems.append(
                    problem_row(case_id, files[role], "two_files", text, "one; move the others away", patient_id=patient_id)
                )
        case = FoundCase(case_id, patient_id, files)
        cases.append(replace(case, covariates=path_covariates(case, folder, dataset)))
    place = f"a file such as {_filled(patterns['label'][0], first[bare[0]])}" if bare else ""
    return Listing(cases, [*problems, *left_out(folder, aside), *unlabelled(folder, bare, len(found), place)])


def path_covariates(case: FoundCase, folder: Path, dataset: Dataset) -> dict[str, str]:
    """Return the covariates that the folders of a case give, such as HGG or LGG."""
    path = next(iter(case.files.values())).removeprefix(folder.as_posix())
    matches = {name: re.search(pattern, path) for name, pattern in dataset.covariates_in_path.items()}
    return {name: match[1] for name, match in matches.items() if match}
