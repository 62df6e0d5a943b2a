"""Damaged files, drawn by seed, for every reader: a reader takes them, or refuses them by a message that names the file.

Any other exception, a hang or much memory is a fault, and so is a message that does not say which file. ``make fuzz`` draws for
longer than the few seconds a reader of a test run. A fault names its seed: ``make fuzz SECONDS=0 SEED=<seed>`` draws that file
alone.
"""

import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import tarfile
import time
import traceback
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import AFFINE, REPO
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError

from glioflow.archives import unpack
from glioflow.case_cache import CaseCache
from glioflow.cohorts.covariates import add_covariates
from glioflow.cohorts.layouts import bids, case_table, msd_task01
from glioflow.cohorts.splits import SplitPlan, check_split
from glioflow.console import Console, UserError
from glioflow.evaluation import conventions
from glioflow.files import read_json, read_table
from glioflow.imaging.volumes import read_labels, read_volume
from glioflow.job_records import restore_notes
from glioflow.models.model_archive import check_plans, parse_json, read_description
from glioflow.models.predictions import read_predictions
from glioflow.study import registry
from glioflow.study.configuration import TableCohort
from glioflow.study.duplicate_keys import duplicate_keys
from glioflow.workflow.checks import load_study

SECONDS = float(os.environ.get("GLIOFLOW_FUZZ_SECONDS", "1"))  # of each reader
SEED = int(os.environ.get("GLIOFLOW_FUZZ_SEED", "0"))
LONGEST_S = 10  # of one file, on a busy machine
MEMORY_BYTES = 2_000_000_000  # that a reader may take for a file of a few kB

Rng = random.Random
Reader = Callable[[Path], object]


# ---- damage


def damage_bytes(rng: Rng, content: bytes) -> bytes:
    """Return bytes with a few of the ways in which files break: bits, cuts, gaps, doubled parts, zeros, foreign bytes."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(content) + 1)
        length = rng.choice((1, 2, 4, 16, 200))
        kind = rng.randrange(7)
        if kind == 0 and at < len(content):
            content = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at]
        elif kind == 2:
            content = content[:at] + content[at + length :]
        elif kind == 3:
            content = content[:at] + content[at : at + length] + content[at:]
        elif kind == 4:
            content = content[:at] + bytes(length) + content[at + length :]
        elif kind == 5:
            content = content[:at] + rng.randbytes(length) + content[at + length :]
        else:
            content = (
                content[:at]
                + rng.choice((b"\xff\xff\xff\x7f", b"\x00\x00\xc0\x7f", b"\x00\x80", b"\xff" * 8))
                + content[at + 4 :]
            )
    return content


TOKENS = (
    *("", " ", '"', "'", ",", ",,,", ";", "\t", "\r", "\n", "\n\n", "\0", "\ufeff", "\x1b[31m", "é", "𝟙", "\ud800"),
    *("nan", "1e999", "-1", "9" * 5000, "1_0", "0x1f", "1:30", "2001-99-99", "null", "true", "~", "\\", "../..", "x" * 300),
    *("[", "]", "{", "}", "[" * 2000, "&a [*a]", "*a", "<<: 3", "- ", ": ", "? ", "!x ", "---\n", "...\n", "#", "%YAML 9"),
    *("!!python/object/apply:os.system ['true']", "!!binary ==="),
)  # fmt: skip


def damage_text(rng: Rng, text: str) -> bytes:
    """Return text with tokens that mean something to a parser in odd places, lines moved or lost; at times damaged bytes."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        lines = text.split("\n")
        kind, at = rng.randrange(5), rng.randrange(len(lines))
        if kind == 0:
            place = rng.randrange(len(text) + 1)
            text = text[:place] + rng.choice(TOKENS) + text[place + rng.choice((0, 0, 1, 3)) :]
        elif kind == 1:
            text = "\n".join([*lines[:at], *lines[at + 1 :]])
        elif kind == 2:
            text = "\n".join([*lines[:at], lines[rng.randrange(len(lines))], *lines[at:]])
        elif kind == 3:
            words = lines[at].split(",")
            words[rng.randrange(len(words))] = rng.choice(TOKENS)
            text = "\n".join([*lines[:at], ",".join(words), *lines[at + 1 :]])
        else:
            text = text[: rng.randrange(len(text) + 1)]
    content = text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1")), errors="replace")
    return damage_bytes(rng, content) if rng.random() < 0.2 else content


VALUES = (
    *(None, True, False, 0, -1, 1, 10**30, 0.5, -0.0, float("nan"), float("inf"), "", "x", "a b", "\0", "x" * 300, "../x", "é"),
    *([], {}, [[]], [None], [1, "a"], {"a": 1}, {1: 2}, {"": {}}, {"a": {"b": {"c": []}}}, ["t1", "t1"], [-1], [1, 2]),
    *([1, 2, 3], [0, 0, 0], "t1", "WT"),
)  # fmt: skip


def damage_value(rng: Rng, value: Any) -> Any:
    """Return a copy of nested lists and mappings with one place replaced, removed, renamed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            return {name: held for name, held in value.items() if name != key}
        if kind == 1:
            return {**value, rng.choice(("x", "", 1, f"{key}s", "case id")): rng.choice(VALUES)}
        if kind == 2:
            return {(f"{key}_" if name == key else name): held for name, held in value.items()}
        return {**value, key: damage_value(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return rng.choice(([*value, value[at]], value[:at], [*value[:at], damage_value(rng, value[at]), *value[at + 1 :]]))
    return rng.choice(VALUES)


def damage_tree(rng: Rng, value: Any, write: Callable[[Any], str]) -> bytes:
    """Return the text of a nested value, with damage to the value, to the text, or to both."""
    kind = rng.randrange(3)
    for _ in range(rng.choice((1, 1, 3)) if kind else 0):
        value = damage_value(rng, value)
    text = write(value)
    return damage_text(rng, text) if kind != 1 else text.encode("utf-8", errors="replace")


def damage_zip(rng: Rng, members: dict[str, bytes]) -> bytes:
    """Return a zip archive with damaged members, member names that are odd, or damage to the archive itself."""
    kind = rng.randrange(3)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            if kind == 0 and rng.random() < 0.5:
                name = rng.choice(
                    (f"../{name}", f"/{name}", name.upper(), f"{name}/", "a\\..\\b", "x" * 300, "a//b", ".", "é\ud800")
                )
            info = zipfile.ZipInfo(name.encode(errors="replace").decode() or "x")
            info.external_attr = rng.choice((0, 0, 0o120777 << 16, 0o020666 << 16)) if kind == 0 else 0
            archive.writestr(info, damage_bytes(rng, content) if kind == 1 else content)
    return damage_bytes(rng, buffer.getvalue()) if kind == 2 else buffer.getvalue()


# ---- the readers, each with the damaged file that it is given


def nifti() -> bytes:
    labels = np.random.default_rng(0).integers(0, 4, (12, 10, 8)).astype(np.uint8)
    return nib.Nifti1Image(labels, AFFINE).to_bytes()


def tabled(path: Path) -> object:
    listing = case_table.find(path, registry.datasets()["brats2021"])
    cohort = TableCohort(dataset="table", table=str(path), covariates=str(path), label_scheme="brats2021")
    return add_covariates(listing.cases, cohort, path.parent)


def covariates(path: Path) -> object:
    cases = case_table.find(beside(path, "cases.csv", CASES), registry.datasets()["brats2021"]).cases
    cohort = TableCohort(dataset="table", table=str(path), covariates=str(path), label_scheme="brats2021")
    return add_covariates(cases, cohort, path.parent)


def split(path: Path) -> object:
    manifest = pd.DataFrame({"case_id": [f"c{n}" for n in range(6)], "patient_id": [f"p{n // 2}" for n in range(6)]})
    return check_split(manifest.assign(volume_WT_ml=1.0), SplitPlan(file=str(path), folds=(3,)))


def participants(path: Path) -> object:
    beside(path, "sub-1/anat/sub-1_T1w.nii.gz", "")
    return bids.find(path.parent, registry.datasets()["brats2021"])


def study(path: Path) -> object:
    try:
        config = load_configfile(str(path))
    except (WorkflowError, RecursionError, UnicodeDecodeError, ValueError):  # Snakemake reads the file before glioflow does
        return duplicate_keys(path)
    return duplicate_keys(path) or load_study(config, str(path))


def configured(read: Callable[[], object]) -> Reader:
    def reader(path: Path) -> object:
        formerly = registry.CONFIG_DIR, conventions.CONVENTIONS_DIR
        registry.CONFIG_DIR = conventions.CONVENTIONS_DIR = path.parent
        try:
            return read.__wrapped__()
        finally:
            registry.CONFIG_DIR, conventions.CONVENTIONS_DIR = formerly

    return reader


def unpacked(path: Path) -> object:
    folder = path.parent / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    unpack(path, folder, 10_000_000, Console())
    assert all(folder in found.resolve().parents for found in folder.rglob("*"))
    return folder


def noted(path: Path) -> object:
    output = path.with_name(path.name.removeprefix(".").removesuffix(".made.json"))
    output.write_text("x")
    return restore_notes(str(path.parent), [str(output)], path.parent / "notes")


def cached(path: Path) -> object:
    cache = CaseCache(path)
    cache.put("a", "key", {"x": 1})
    assert CaseCache(path).get("a", "key") == {"x": 1}
    return cache


def planned(path: Path) -> object:
    description = dict(read_description(beside(path, "sound.zip", zipped(MODEL))))
    return check_plans(path, parse_json(path, path.name, path.read_bytes()), description)


def beside(path: Path, name: str, content: str | bytes) -> Path:
    other = path.parent / name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(content.encode() if isinstance(content, str) else content)
    return other


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


CASES = "case_id,patient_id,t1,flair,label,age,grade\n" + "".join(
    f"c{n},p{n // 2},c{n}/t1.nii.gz,c{n}/flair.nii.gz,c{n}/seg.nii.gz,{40 + n}.5,\"IV, high\"\n" for n in range(6)
)  # fmt: skip
COVARIATES = "case_id;age;Extent of Resection\n" + "".join(f"c{n};{40 + n},5;total\n" for n in range(6))
PARTICIPANTS = "participant_id\tage\tsex\nsub-1\t61\tF\nsub-2\tn/a\tM\n"
SPLIT = "case_id,patient_id,set,fold_of_3\n" + "".join(f"c{n},p{n // 2},train,{n // 2}\n" for n in range(6))
FOLDS = [
    {"train": [f"c{n}" for n in range(6) if n // 2 != k], "val": [f"c{n}" for n in range(6) if n // 2 == k]} for k in range(3)
]
PREDICTIONS = "case_id,patient_id,fold,tta,prediction,sha256\nc1,p1,0,True,a.nii.gz,00\nc2,p2,,False,b.nii.gz,11\n"
MODALITY = {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, "training": []}
FILES = {"case/t1.nii.gz": b"abc" * 500, "case/notes.txt": b"", "readme": bytes(2000)}
HASH = "0" * 64
DESCRIPTION = {
    "format": "glioflow model", "format_version": 1, "name": "m", "channels": ["t1", "flair"], "regions": ["WT", "TC"],
    "outputs": "regions", "configuration": "3d_fullres", "trainer": "GlioflowTrainer",
    "network": "dynamic_network_architectures.architectures.unet.PlainConvUNet", "folds": [0], "tta": True,
    "trained": {"0": {"key": HASH, "versions": {"torch": "2"}}},
    "files": dict.fromkeys(("plans.json", "dataset.json", "README.md", "fold_0/checkpoint_final.pth"), HASH),
}  # fmt: skip
RECORD = {"output": "a.csv", "params": ["1"], "inputs": {"b": "sha256:0"}, "files": {"b": [1, 2, "0"]}}
MODEL = {"m/model.json": json.dumps(DESCRIPTION).encode(), "m/plans.json": b"{}"}
PLANS = {
    "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
    "configurations": {
        "3d_fullres": {
            "preprocessor_name": "DefaultPreprocessor", "patch_size": [32, 32, 32], "batch_size": 2, "spacing": [1.0, 1.0, 1.0],
            "normalization_schemes": ["ZScoreNormalization", "ZScoreNormalization"],
            **dict.fromkeys(("resampling_fn_data", "resampling_fn_seg"), "resample_data_or_seg_to_shape"),
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "architecture": {
                "network_class_name": DESCRIPTION["network"], "_kw_requires_import": ["conv_op"],
                "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv3d", "n_stages": 3},
            },
        }
    },
    "glioflow": {"epochs": 3},
}  # fmt: skip
STUDIES = [yaml.safe_load(path.read_text()) for path in sorted((REPO / "config").glob("config.yaml"))]
STUDIES += [yaml.safe_load(path.read_text()) for path in sorted((REPO / "config/studies").glob("*_cpu.yaml"))]


def in_gzip(rng: Rng) -> bytes:
    """Return a damaged .nii.gz: damaged before it is packed, or after."""
    inside = rng.random() < 0.6
    packed = gzip.compress(damage_header(rng, nifti()) if inside else nifti(), 1)
    return packed if inside else damage_bytes(rng, packed)


def damage_header(rng: Rng, content: bytes) -> bytes:
    """Return a NIfTI file with damage where it counts: in its 348 bytes of header, at times elsewhere."""
    return damage_bytes(rng, content[:352]) + content[352:] if rng.random() < 0.8 else damage_bytes(rng, content)


def yaml_of(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False)


def registered(name: str) -> Callable[[Rng], bytes]:
    value = yaml.safe_load((REPO / "config" / name).read_text())
    return lambda rng: damage_tree(rng, value, yaml_of)


def as_json(value: Any) -> Callable[[Rng], bytes]:
    return lambda rng: damage_tree(rng, value, json.dumps)


def as_text(text: str) -> Callable[[Rng], bytes]:
    return lambda rng: damage_text(rng, text)


# reader: the name of the file it is given, how it is damaged, and what reads it
READERS: dict[str, tuple[str, Callable[[Rng], bytes], Reader]] = {
    "volume": ("a.nii", lambda rng: damage_header(rng, nifti()), read_volume),
    "packed_volume": ("a.nii.gz", in_gzip, read_volume),
    "labels": ("a.nii.gz", in_gzip, read_labels),
    "study": ("study.yaml", lambda rng: damage_tree(rng, rng.choice(STUDIES), yaml_of), study),
    "datasets": ("datasets.yaml", registered("datasets.yaml"), configured(registry.datasets)),
    "label_schemes": ("label_schemes.yaml", registered("label_schemes.yaml"), configured(registry.label_schemes)),
    "convention": ("glioflow.yaml", registered("conventions/brats2024_gli.yaml"), configured(conventions.conventions)),
    "case_table": ("cases.csv", as_text(CASES), tabled),
    "covariates": ("covariates.csv", as_text(COVARIATES), covariates),
    "participants": ("participants.tsv", as_text(PARTICIPANTS), participants),
    "split": ("split.csv", as_text(SPLIT), split),
    "splits_final": ("splits_final.json", as_json(FOLDS), split),
    "task01": ("dataset.json", as_json(MODALITY), msd_task01.description_problems),
    "zip": ("a.zip", lambda rng: damage_zip(rng, FILES), unpacked),
    "tar": ("a.tar", lambda rng: damage_bytes(rng, tarred()), unpacked),
    "tar.gz": ("a.tar.gz", lambda rng: damage_bytes(rng, gzip.compress(tarred(), 1)), unpacked),
    "model": ("m.zip", lambda rng: damage_zip(rng, MODEL), read_description),
    "description": ("m.zip", lambda rng: zipped({"m/model.json": as_json(DESCRIPTION)(rng)}), read_description),
    "plans": ("plans.json", as_json(PLANS), planned),
    "record": (".a.csv.made.json", as_json(RECORD), noted),
    "cache": ("cache.jsonl", as_text('["a", "key", {"x": 1}]\n["b", "key", {"x": [2]}]\n'), cached),
    "table": ("scores.csv", as_text(CASES), read_table),
    "predictions": ("predictions.csv", as_text(PREDICTIONS), read_predictions),
    "json": ("manifest.json", as_text(json.dumps(PLANS)), read_json),
}  # fmt: skip


# ---- drawing


@contextmanager
def limits():
    """Let a reader take neither more memory nor more time than a file of a few kB can need."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"it took longer than {LONGEST_S} s")

    memory = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    former = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, memory[1]))
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, memory)
        signal.signal(signal.SIGALRM, former)


def fault(reader: Reader, path: Path) -> str | None:
    """Return what is wrong with how a reader met a damaged file, nothing where it read it or refused it well."""
    try:
        with limits():
            reader(path)
    except UserError as error:
        return None if str(path) in str(error) else f"the message does not name the file: {error}"
    except BaseException:
        return traceback.format_exc()
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_by_a_message_that_names_it(name, tmp_path, monkeypatch):
    file, damaged, reader = READERS[name]
    path = tmp_path / file
    end = time.monotonic() + SECONDS
    drawn, seed = 0, SEED
    while drawn == 0 or time.monotonic() < end:
        path.write_bytes(damaged(Rng(f"{name} {seed}")))
        if found := fault(reader, path):
            pytest.fail(f"{name}: GLIOFLOW_FUZZ_SEED={seed}, file {path}\n{path.read_bytes()[:600]!r}\n{found}", pytrace=False)
        drawn, seed = drawn + 1, seed + 1
    assert drawn
