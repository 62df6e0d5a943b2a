"""Laying out a bundle: what goes along is written into a folder as it goes along; what follows is made again there."""

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from glioflow.bundle.identifiers import Identifiers, Pseudonyms, known_names, read_key
from glioflow.bundle.nifti import clean_copy
from glioflow.bundle.replay import STEPS, TABLES, chosen_steps
from glioflow.bundle.shared_tables import IMAGES, INPUTS, MASK, PICTURES, Policy, ResultsFiles, covariates_of, patients_of
from glioflow.bundle.steps import RESULTS, Step, flat, present
from glioflow.code_fingerprint import SCRIPTS
from glioflow.cohorts.layouts import cohort_folder
from glioflow.console import Console, UserError
from glioflow.files import read_table, read_text_table, sha256_file, write_json, write_table, write_text
from glioflow.report.checkout import RECORD, describe_commit
from glioflow.stored_paths import find_path
from glioflow.study.configuration import Bundle, GivenModel, ImportedModel, PhantomCohort, Study, cohort_dataset, expand_path
from glioflow.study.registry import ROLES, datasets

CONFIGURATION, INPUT_TABLE, REPORT, LICENCES = "study.yaml", "inputs.csv", f"{RESULTS}/report/index.html", "LICENCES.md"
# Of the workflow's folder: what a run needs. Other files of config/ may be the user's own.
WORKFLOW_FILES = (
    *(
        "Snakefile",
        "workflow/Snakefile",
        "rules/*.smk",
        "rules/captions/*.rst",
        "scripts/**/*.py",
        "scripts/**/templates/*",
        "scripts/**/assets/*",
        "envs/*",
        "profiles/**/*.yaml",
    ),
    *(
        "config/datasets.yaml",
        "config/label_schemes.yaml",
        "config/feature_groups.yaml",
        "config/resources.yaml",
        "config/schema.json",
        "config/conventions/*.yaml",
        "config/checklists/*.yaml",
    ),
    *("LICENSE", "CITATION.cff"),
)
TEXTS = (".csv", ".json", ".tsv", ".txt")  # what the jobs that read images write besides images
PATH_KEYS = frozenset(
    {"path", "covariates", "table", "split", "predictions", "archive", "trainer", "data", "pseudonym_key", "file", "radiomics"}
)
SHARING_LICENCES = ("CC0", "CC BY", "MIT")  # terms that let anybody pass the data on


@dataclass(frozen=True)
class Sources:
    """What a bundle is made of: the study, as it was written and with its defaults, its results folder and its jobs."""

    study: Study
    written: Mapping[str, Any]
    results: Path
    steps: Sequence[Step]

    @property
    def bundle(self) -> Bundle:
        """The study's block ``bundle``."""
        assert self.study.bundle is not None
        return self.study.bundle

    def cohort_files(self, name: str) -> dict[str, Path]:
        """Return the file of this name of every cohort."""
        files = {cohort: self.results / "cohorts" / cohort / name for cohort in self.study.cohorts}
        return {cohort: file for cohort, file in files.items() if file.exists()}


def check_licences(study: Study, bundle: Bundle) -> None:
    """Raise UserError where the configuration asks for images or pictures that their licence lets nobody pass on."""
    asked = [key for key in ("images", "pictures") if getattr(bundle, key)]
    for name, cohort in study.cohorts.items() if asked else ():
        known = datasets().get(cohort.dataset)
        if known and not known.licence.startswith(SHARING_LICENCES):
            raise UserError(
                f"bundle.{asked[0]}: the cohort {name!r} is of {cohort.dataset}, whose terms ({known.licence}) do not let its "
                "images be passed on; set it to false, or make a bundle of a study without this cohort"
            )
    if bundle.pseudonymise and bundle.pictures:
        raise UserError("bundle.pictures: the pictures show the cases' ids; set it to false, or pseudonymise to false")


def roots_of(study: Study, results: Path) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return what is written for every place of the user's that the study names, and each cohort's folder with its own."""
    roots: dict[str, str] = {}
    cohorts: dict[str, tuple[str, str]] = {}

    def note(path: str, name: str) -> None:
        full = os.path.abspath(expand_path(path))  # noqa: PTH100 - links stay as they are named
        roots.setdefault(full, name)
        roots.setdefault(os.path.realpath(full), name)

    for name, cohort in study.cohorts.items():
        if not isinstance(cohort, PhantomCohort):
            place = os.path.abspath(cohort_folder(cohort, results, study.data))  # noqa: PTH100
            folder = os.path.dirname(place) if cohort.dataset == "table" else place  # noqa: PTH120
            cohorts[name] = (folder, f"{INPUTS}/{name}")
            for key in ("covariates", "split"):
                if given := getattr(cohort, key, None):
                    note(given, f"{INPUTS}/{name}_{key}{Path(given).suffix}")
            note(folder, f"{INPUTS}/{name}")
    for name, model in study.models.items():
        if isinstance(model, GivenModel):
            note(model.predictions.split("{case}")[0].rpartition("/")[0] or ".", f"{INPUTS}/{name}")
        elif isinstance(model, ImportedModel):
            note(model.archive, f"{INPUTS}/{name}.zip")
        elif model.trainer and ":" in model.trainer:
            note(model.trainer.rpartition(":")[0], f"{INPUTS}/{name}_trainer.py")
    if study.data:
        note(study.data, f"{INPUTS}/data")
    roots[os.path.abspath(results)] = RESULTS  # noqa: PTH100
    return roots, cohorts


def make_policy(sources: Sources) -> Policy:
    """Return what goes along. Raises UserError where the study's own analysis needs a covariate that may not."""
    study, bundle = sources.study, sources.bundle
    manifests, cases = sources.cohort_files("manifest.csv"), sources.cohort_files("cases.csv")
    phantoms = {name for name, cohort in study.cohorts.items() if isinstance(cohort, PhantomCohort)}
    tables = [(name, path) for found in (manifests, cases) for name, path in found.items()]
    values: dict[str, set[str]] = {}
    for name, known in covariates_of([path for cohort, path in tables if cohort not in phantoms]):
        values.setdefault(name, set()).update(known)
    free = {name for name, _ in covariates_of([path for cohort, path in tables if cohort in phantoms])}  # they are nobody's
    if unknown := sorted(set(bundle.covariates) - set(values) - free):
        raise UserError(
            f"bundle.covariates: no cohort has a covariate {unknown[0]!r}; known: {', '.join(sorted(values)) or 'none'}"
        )
    needed = {by for cohort in study.cohorts.values() if (by := cohort.stratify_by)} | set(study.evaluation.group_by)
    needed |= {model.folds_by for model in study.trained().values() if model.folds_by}
    if lacking := sorted(needed - set(bundle.covariates) - free):
        raise UserError(f"bundle.covariates: the study uses {lacking[0]!r}, so its tables hold it; add it to the list")
    withheld = {name: found for name, found in values.items() if name not in bundle.covariates}
    pseudonyms = None
    if bundle.pseudonymise:
        if bundle.pseudonym_key is None:
            raise UserError("bundle.pseudonym_key: missing; name a file for the key, not in what you share; it will be made")
        patients = patients_of(cases) | patients_of(manifests)
        pseudonyms = Pseudonyms(patients, read_key(Path(expand_path(bundle.pseudonym_key))))
    roots, cohorts = roots_of(study, sources.results)
    names = known_names([*roots, os.getcwd()])  # noqa: PTH109
    telling = {value for found in withheld.values() for value in found if len(value) > 3}
    return Policy(
        Identifiers(roots, names, pseudonyms, telling),
        covariates=bundle.covariates,
        withheld=set(withheld),
        pictures=bundle.pictures,
        predictions=bundle.predictions,
        images=bundle.images,
        cohort_roots=cohorts,
    )


def share_settings(value: Any, policy: Policy, key: str = "") -> Any:
    """Return a part of the configuration, or a param, as it goes along; paths become those of the bundle's own folders."""
    identifiers = policy.identifiers
    if isinstance(value, dict):
        changed = {identifiers.text(name): share_settings(each, policy, name) for name, each in value.items()}
        return {name: each for name, each in changed.items() if name != "pseudonym_key"}
    if isinstance(value, list):
        return [share_settings(each, policy, key) for each in value]
    if not isinstance(value, str):
        return value
    if key == "config_file":
        return CONFIGURATION
    if key == "results" or value == RESULTS or value.startswith(f"{RESULTS}/"):
        return identifiers.text(value)
    if key in PATH_KEYS and value:
        file, colon, inner = value.rpartition(":") if key == "trainer" else (value, "", "")
        place = identifiers.place(os.path.abspath(expand_path(file))) if file else ""  # noqa: PTH100
        return identifiers.text(f"{place}{colon}{inner}")
    return identifiers.free(value) if "/" in value else identifiers.text(value)


def share_step(step: Step, policy: Policy) -> Step:
    """Return a step as it goes along."""
    parts: dict[str, Any] = {
        part: [[name, share_settings(value, policy, name or "")] for name, value in getattr(step, part)]
        for part in ("wildcards", "input", "output", "params", "log")
    }
    return replace(step, **parts)


def copy_workflow(folder: Path) -> None:
    """Copy the workflow as it is into ``folder``, and record its commit, where it has one."""
    root = SCRIPTS.parent
    for pattern in WORKFLOW_FILES:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                target = folder / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    if commit := describe_commit():
        write_json(folder / RECORD, commit)


def input_table(sources: Sources, files: ResultsFiles) -> pd.DataFrame:
    """Return what the study was made from: every image and label, and the user's further files, with SHA-256 and bytes."""
    rows = []
    for cohort, path in sources.cohort_files("cases.csv").items():
        cases = read_text_table(path)
        written = {row["case_id"]: row for row in _rows_of(files.share(path).text)}
        manifest = read_text_table(path.with_name("manifest.csv")).set_index("case_id")
        for row in cases.to_dict("records"):
            other = written[files.id(row["case_id"])]
            for role in (role for role in ROLES if isinstance(row.get(role), str)):
                source = Path(find_path(row[role], path))
                size = source.stat().st_size if source.is_file() else None
                # The manifest has the hash of the file that is read, which may be one that was written in its place.
                same = row["case_id"] in manifest.index and manifest.get(role, {}).get(row["case_id"]) == row[role]
                digest = manifest.at[row["case_id"], f"{role}_sha256"] if same else sha256_file(source) if size else None
                name = os.path.normpath(f"{RESULTS}/cohorts/{cohort}/{other[role]}")
                rows.append([cohort, other["case_id"], role, name, digest, size])
    rows += given_masks(sources, files)
    for step in sources.steps:
        for file in (Path(path) for path in step.inputs if not path.startswith(f"{RESULTS}/") and Path(path).is_file()):
            name = files.policy.identifiers.text(files.policy.identifiers.place(str(file.absolute())))
            rows.append([None, None, None, name, sha256_file(file), file.stat().st_size])
    table = pd.DataFrame(rows, columns=["cohort", "case_id", "role", "file", "sha256", "bytes"])
    table = table.drop_duplicates(ignore_index=True).astype({"bytes": "Int64"})
    if files.policy.identifiers.pseudonyms:  # in the order of the ids, every pseudonym's owner could be told
        table = table.sort_values(["cohort", "case_id"], kind="stable", ignore_index=True)
    return table


def given_masks(sources: Sources, files: ResultsFiles) -> list[list[Any]]:
    """Return the rows of the masks that the study was given."""
    rows: list[list[Any]] = []
    for model in sources.study.models.values():
        if isinstance(model, GivenModel):
            cases = read_text_table(sources.results / "cohorts" / model.cohort / "cases.csv")["case_id"]
            for case in map(str, cases):
                file = Path(expand_path(model.predictions).replace("{case}", case))
                if file.is_file():
                    name = files.policy.identifiers.text(files.policy.identifiers.place(os.path.abspath(file)))  # noqa: PTH100
                    rows.append([model.cohort, files.id(case), MASK, name, sha256_file(file), file.stat().st_size])
    return rows


def _rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def licences_text(study: Study, bundle: Bundle) -> str:
    """Return the page on the licences of the bundle's parts."""
    lines = [
        "# Licences",
        "",
        f"- This bundle: {bundle.licence}.",
        "- The workflow (`workflow/`): MIT, see `workflow/LICENSE`.",
    ]
    for name, cohort in study.cohorts.items():
        known = cohort_dataset(cohort)
        if known.licence:
            went = "its images are part of the bundle" if bundle.images else "its images are no part of the bundle"
            cite = f" Cite: {known.citation}" if known.citation else ""
            lines.append(f"- The cohort `{name}` ({known.title}): {known.licence}; {went}.{cite}")
    return "\n".join([*lines, ""])


def readme_text(title: str, file: str) -> str:
    """Return the bundle's README.md."""
    return "\n".join(
        [
            f"# {title}",
            "",
            "A study made by glioflow, as an RO-Crate (`ro-crate-metadata.json`). The report is `results/report/index.html`.",
            "",
            "From a checkout of glioflow, in its environment (`make setup && source .venv/bin/activate`):",
            "",
            "```sh",
            f"python scripts/verify_bundle.py {file} --recompute   # every checksum; what follows from tables, made again",
            f"python scripts/rerun_from_bundle.py {file} my_rerun  # lays out workflow and configuration to run it again",
            "```",
            "",
            "| | |",
            "|---|---|",
            f"| `{CONFIGURATION}` | the study; the places of its data stand for your own |",
            f"| `{INPUT_TABLE}` | every image, label and table that went in, with SHA-256 and bytes |",
            "| `workflow/` | the workflow that made it, with the environment's lock and the conventions of the metrics |",
            "| `results/` | tables, figures, report, models, logs: `results/README.md` of glioflow says what is where |",
            f"| `{STEPS}` | every job: inputs, outputs, params, times |",
            f"| `{LICENCES}` | terms of use |",
            "| `manifest-sha256.txt` | the SHA-256 of every file |",
            "",
        ]
    )


def lay_out(sources: Sources, policy: Policy, folder: Path, console: Console) -> dict[str, Path]:
    """Write a bundle's files into the empty ``folder``, and return those that are used where they are: name to path."""
    files = ResultsFiles(sources.results, policy)
    copy_workflow(folder / "workflow")
    used: dict[str, Path] = {}
    steps = [share_step(step, policy) for step in sources.steps]
    again = {step.name for step in chosen_steps(sources.steps, TABLES)}
    for step in console.track(sources.steps, len(sources.steps), "jobs laid out"):
        for path in step.outputs if step.name not in again else ():
            used |= _place(path, files, sources, folder)
        if sources.bundle.logs:
            for path in (*flat(step.log), *step.benchmarks):
                if (file := present(path, sources.results)).is_file():
                    write_text(folder / policy.identifiers.text(path), files.share(file).text)
    write_json(folder / STEPS, [step.described() for step in steps])
    written = share_settings(dict(sources.written), policy)
    write_text(folder / CONFIGURATION, yaml.safe_dump({**written, "results": RESULTS}, sort_keys=False, allow_unicode=True))
    write_table(folder / INPUT_TABLE, input_table(sources, files))
    write_text(folder / LICENCES, licences_text(sources.study, sources.bundle))
    return used


def _place(path: str, files: ResultsFiles, sources: Sources, folder: Path) -> dict[str, Path]:
    """Write an output into the folder as it goes along; return what is used where it is instead."""
    file, name = present(path, sources.results), files.policy.identifiers.text(path)
    if file.suffix == ".zip":
        return {name: file}
    if file.suffix not in TEXTS:  # pictures, and what may hold images, go along where these may
        policy = files.policy
        return {name: file} if (policy.pictures if file.suffix in PICTURES else policy.images) else {}
    shared = files.share(file)
    for other, source in shared.files.items():
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        if other.endswith(IMAGES):
            clean_copy(source, folder / other)
        else:
            shutil.copyfile(source, folder / other)
    write_text(folder / name, _with_new_hashes(shared.text, folder, name) if shared.files else shared.text)
    return {}


def _with_new_hashes(text: str, folder: Path, name: str) -> str:
    """Return a table of masks with the SHA-256 of the masks as they go along, their headers without free text."""
    target = folder / name
    write_text(target, text)
    table = read_table(target, ["prediction"])
    if not {"prediction", "sha256"} <= set(table.columns):
        return text
    digests = [sha256_file(target.parent / path) for path in table["prediction"]]
    write_table(target, table.assign(sha256=digests))
    return target.read_text(encoding="utf-8")


def replay(folder: Path, which: str, console: Console, scripts: Path | None = None) -> None:
    """Make the chosen steps of a bundle again in the folder that it is laid out in, by the workflow that it brings.

    Raises UserError with what was said where a step fails.
    """
    code = scripts or folder / "workflow/scripts"
    environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
    command = [sys.executable, "-m", "glioflow.bundle.replay", str(folder), which]
    run = subprocess.Popen(command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert run.stderr is not None
    said: list[str] = []
    for line in run.stderr:
        said.append(line.rstrip())
        console.note(said[-1])
    if run.wait():
        raise UserError("\n".join(["what follows from the tables could not be made again:", *said[-8:]]))


def list_files(folder: Path, used: Mapping[str, Path]) -> dict[str, Path]:
    """Return every file of a bundle: name to where it is."""
    inside = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return dict(sorted({**inside, **used}.items()))


def differing(names: Iterable[str], folder: Path, results: Path) -> list[str]:
    """Return the outputs that are other in the bundle than in the study, since something did not go along."""
    return [name for name in names if (folder / name).read_bytes() != present(name, results).read_bytes()]
