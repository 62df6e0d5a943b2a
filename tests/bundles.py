"""A small finished study with planted identifiers, and its bundles: ``build_bundle_study``. Nothing is trained."""

import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from conftest import AFFINE, REPO, write_case
from workflows import build_once, snakemake

ROLES = {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "label": "seg"}
# What must never leave: the owner of a home folder, a machine, a patient's number, free text of headers, of logs, of the shell.
PLANTED = ("jane.doe", "scanner77", "MRN880", "Rossi", "jdoe4711", "1961-04-0", "secret-token-9f3", "Mario")
CASES = [f"Brain{number:02d}_visit" for number in range(6)]
# Three years apart, so that a date moved by at most one year is never another case's own.
DATES = [f"{2001 + 3 * number}-04-11" for number in range(6)]
BUNDLE = {"name": "mini", "licence": "CC-BY-4.0", "authors": [{"name": "Ada Lovelace", "orcid": "0000-0002-1825-0097"}]}
ENVIRONMENT = {"USER": "jdoe4711", "LOGNAME": "jdoe4711", "GLIOFLOW_SECRET": "secret-token-9f3"}


def plant_header(path: Path, *, extension: bool = True) -> None:
    """Write names into the free text of a NIfTI file."""
    image = nib.load(path)
    planted = nib.Nifti1Image(np.asanyarray(image.dataobj).copy(), image.affine, image.header)
    planted.header["descrip"], planted.header["aux_file"], planted.header["intent_name"] = b"Mario Rossi", b"jane.doe", b"Rossi"
    planted.header["db_name"] = b"MRN8801"
    if extension:
        planted.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Mario Rossi 1961-04-02"))
    nib.save(planted, path)


def write_study(checkout: Path) -> dict[str, Any]:
    """Write images, masks and covariates with planted identifiers; return the study."""
    data = checkout.parent / "home/jane.doe/scanner77"
    rng = np.random.default_rng(3)
    lines = ["case_id,patient_id,grade,seen,mrn,birth,physician"]
    for number, case in enumerate(CASES):
        folder = write_case(data / "cases", case, tumour=2 + number)
        for name in ROLES.values():
            plant_header(folder / f"{case}_{name}.nii.gz")
        for model in "mn":
            mask = np.roll(np.asarray(nib.load(folder / f"{case}_seg.nii.gz").dataobj), rng.integers(0, 3), 0)
            path = data / "masks" / model / f"{case}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(mask, AFFINE), path)
            plant_header(path)
        grade, birth = 2 + number % 3, f"1961-04-0{1 + number}"
        lines.append(f"{case},Brain{number:02d},{grade},{DATES[number]},MRN880{number},{birth},Mario Rossi")
    (data / "clinic.csv").write_text("\n".join(lines) + "\n")
    given = {"cohort": "c", "label_scheme": "brats2021"}
    files = {role: f"{{case}}/{{case}}_{name}.nii.gz" for role, name in ROLES.items()}
    cohort = {"dataset": "folders", "path": str(data / "cases"), "files": files, "label_scheme": "brats2021"}
    return {
        "cohorts": {"c": {**cohort, "covariates": str(data / "clinic.csv"), "patient_id": r"(Brain\d+)_"}},
        "models": {model: {**given, "predictions": f"{data}/masks/{model}/{{case}}.nii.gz"} for model in "mn"},
        "failure": {"extremes": 2},
        "bundle": {**BUNDLE, "covariates": ["grade", "seen"], "pictures": True, "predictions": True},
    }


def build(checkout: Path) -> str:
    """Run the study up to its report, plant names into a log, then make its bundle."""
    for name in ("LICENSE", "CITATION.cff"):
        shutil.copyfile(REPO / name, checkout / name)
    study = write_study(checkout)
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "--configfile", "study.yaml", "--", "report", **ENVIRONMENT)
    assert run.returncode == 0, run.stdout
    with (checkout / "results/logs/score_cases/m/given/0.log").open("a") as log:
        log.write(f"{CASES[1]}: /home/jane.doe/raw/x.nii of Mario Rossi, MRN8802, 1961-04-03, jdoe4711@scanner77.clinic.org\n")
        log.write("read ../../../jane.doe/list.csv and C:\\Users\\jane.doe\\list.csv as jdoe4711\n")
    run = snakemake(checkout, "--configfile", "study.yaml", **ENVIRONMENT)
    assert run.returncode == 0, run.stdout
    return run.stdout


def build_bundle_study(factory: pytest.TempPathFactory) -> Path:
    """Return the checkout in which the study has run; change it in a copy only."""
    return build_once(factory, "bundle_study", build)[0]


def other_bundle(checkout: Path, target: Path, **block: Any) -> Path:
    """Return a bundle of the same results, made in a copy of the checkout with other keys in its block."""
    shutil.copytree(checkout, target, symlinks=True, ignore=shutil.ignore_patterns(".snakemake", "bundle-*"))
    shutil.rmtree(target / "results/bundle", ignore_errors=True)
    study = yaml.safe_load((checkout / "study.yaml").read_text())
    study["bundle"] |= block
    (target / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(target, "--configfile", "study.yaml", "--", "bundle", **ENVIRONMENT)
    assert run.returncode == 0, run.stdout
    assert "rule write_report" not in run.stdout
    return target / "results/bundle/mini-1.0.0.zip"


def rewrite(bundle: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Write the bundle again with the content of each file changed by a function of its name and content."""
    with zipfile.ZipFile(bundle) as opened, zipfile.ZipFile(target, "w") as written:
        for info in opened.infolist():
            written.writestr(info.filename, change(info.filename, opened.read(info)))
    return target


def with_checksums(bundle: Path, target: Path, changed: Mapping[str, bytes]) -> Path:
    """Write the bundle with other contents of some files, and their checksums as if they belonged there."""
    import hashlib

    def change(name: str, content: bytes) -> bytes:
        if name == "manifest-sha256.txt":
            lines = [line.split("  ", 1) for line in content.decode().splitlines()]
            digests = {file: hashlib.sha256(changed[file]).hexdigest() if file in changed else digest for digest, file in lines}
            return "".join(f"{digest}  {file}\n" for file, digest in digests.items()).encode()
        return changed.get(name, content)

    return rewrite(bundle, target, change)
