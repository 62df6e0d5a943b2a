"""Wrong input of every known kind: one row of verification.csv each, with a sentence to act on, and the pass never crashes."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import AFFINE, save, write_case
from miniatures import make_miniature
from workflows import copy_checkout, snakemake


def path_of(folder: Path, case: str, role: str) -> Path:
    return folder / case / f"{case}_{role}.nii.gz"


def truncate(folder, case):
    path = path_of(folder, case, "t1")
    path.write_bytes(path.read_bytes()[:-100])


def empty(folder, case):
    path_of(folder, case, "t2").write_bytes(b"")


def unpack_without_renaming(folder, case):
    path = path_of(folder, case, "flair")
    path.write_bytes(gzip.decompress(path.read_bytes()))


def other_format(folder, case):
    path_of(folder, case, "t1ce").rename(folder / case / f"{case}_t1ce.mha")


def fractions(folder, case):
    labels = np.zeros((10, 12, 8), np.float32)
    labels[2:7, 2:7, 2:7] = 1.004
    save(path_of(folder, case, "seg"), labels)


def strange_value(folder, case):
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[2:7, 2:7, 2:7] = 254
    save(path_of(folder, case, "seg"), labels)


def wrong_scheme(folder, case):
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[2:7, 2:7, 2:7] = 3
    save(path_of(folder, case, "seg"), labels)


def missing_channel(folder, case):
    path_of(folder, case, "t2").unlink()


def two_files(folder, case):
    path = path_of(folder, case, "t1")
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))


def bad_affine(folder, case):
    path = path_of(folder, case, "flair")
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(content[:348]))
    header["srow_x"] = np.nan
    header["pixdim"][1:4] = np.nan
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


def mirrored_label(folder, case):
    image = np.zeros((10, 12, 8), np.int16)
    image[1:5, 1:11, 1:7] = np.arange(4 * 10 * 6).reshape(4, 10, 6) + 1
    for number, role in enumerate(("t1", "t1ce", "t2", "flair")):
        save(path_of(folder, case, role), (image + number * (image > 0)).astype(np.int16))
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[5:9, 2:8, 2:6] = 2
    save(path_of(folder, case, "seg"), labels)


def flipped_header(folder, case):
    path = path_of(folder, case, "seg")
    save(path, np.asarray(nib.load(path).dataobj), np.diag([1.0, 1.0, 1.0, 1.0]))


# fault: what is done to a case, the problem's name, words of its message
FAULTS = {
    "truncated": (truncate, "unreadable", "copy or download the file again"),
    "zero_bytes": (empty, "unreadable", "the file is empty"),
    "misnamed": (unpack_without_renaming, "wrong_extension", "its name must end in .nii"),
    "other_format": (other_format, "wrong_extension", "_t1ce.mha; expected a NIfTI file, named .nii or .nii.gz"),
    "fractions": (fractions, "unknown_label", "found label value 1.004"),
    "value_254": (strange_value, "unknown_label", "found label value 254; expected values 0, 1, 2, 4"),
    "scheme": (wrong_scheme, "unknown_label", "would fit: canonical, brats2023, brats2024, msd_task01, nnunet, et_ncr_ed"),
    "no_channel": (missing_channel, "missing_channel", "no file for channel t2"),
    "two_files": (two_files, "two_files", "2 files for t1"),
    "bad_affine": (
        bad_affine,
        "affine",
        "a header with voxel sizes of nan x nan x nan mm (pixdim); and an sform",
    ),
    "mirrored": (mirrored_label, "label_outside_brain", "is the label mirrored, shifted or another case's?"),
    "flipped": (flipped_header, "affine_mismatch", "the axes x, y run another way"),
}


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """The tables of problems of four cohorts: one with a fault a case, a 4D one, a table, and one with a split of its own."""
    root = tmp_path_factory.mktemp("faults")
    checkout = copy_checkout(root / "glioflow")
    for fault, (harm, *_) in FAULTS.items():
        write_case(root / "brats", fault, tumour=5)
        harm(root / "brats", fault)
    write_case(root / "brats", "sound")
    write_case(root / "brats", "a case")
    (root / "brats/sound/back").symlink_to("..")

    msd = make_miniature("msd_task01", root / "msd")
    images = sorted(Path(msd["path"]).glob("**/imagesTr/[!.]*.nii.gz"))
    save(images[0], np.arange(960, dtype=np.int16).reshape(10, 12, 8), AFFINE)

    lines = ["case_id,patient_id,t1,t1ce,t2,flair,label"]
    for number in range(6):
        case = f"t{number}"
        write_case(root / "sheet", case, seed=3)
        lines.append(
            ",".join([case, f"p{number // 2}", *(f"{case}/{case}_{r}.nii.gz" for r in ("t1", "t1ce", "t2", "flair", "seg"))])
        )
    (root / "sheet/cases.csv").write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    folds = "".join(f"t{number},p{number // 2},train,{number % 2 if number < 2 else number // 2 % 2}\n" for number in range(6))
    (root / "split.csv").write_text("case_id,patient_id,set,fold_of_2\n" + folds)

    sheet = {"dataset": "table", "table": str(root / "sheet/cases.csv"), "label_scheme": "brats2021"}
    study = {
        "results": str(root / "results"),
        "cohorts": {
            "brats": {"dataset": "brats2021", "path": str(root / "brats")},
            "msd": msd,
            "sheet": {**sheet, "split": str(root / "split.csv")},
            "four": {"dataset": "brats2023_gli", "path": str(root / "gli")},
        },
        "models": {key: {"cohort": key, "folds": 2} for key in ("brats", "msd", "sheet", "four")},
        "failure": {"extremes": 1},
    }
    for number in range(4):
        case = f"BraTS-GLI-0000{number}-000"
        write_case(root / "raw", case, raw_et=4 if number == 0 else 3)
        for old, new in (("t1", "t1n"), ("t1ce", "t1c"), ("t2", "t2w"), ("flair", "t2f"), ("seg", "seg")):
            target = root / "gli" / case / f"{case}-{new}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            path_of(root / "raw", case, old).rename(target)
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "--configfile", str(root / "study.yaml"), "--keep-going", "--", "cohorts")
    tables = {key: pd.read_csv(root / f"results/cohorts/{key}/verification.csv") for key in study["cohorts"]}
    return run, tables


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_row_that_names_case_file_and_remedy(verified, fault):
    _, tables = verified
    rows = tables["brats"][tables["brats"]["case_id"] == fault]
    _, problem, words = FAULTS[fault]
    wanted = rows[rows["problem"] == problem]
    assert len(wanted) == 1, rows["message"].tolist()
    assert words in wanted["message"].item()
    assert len(rows) == 1, rows["message"].tolist()
    assert fault in wanted["message"].item() and Path(wanted["file"].item()).parent.name == fault


def test_a_case_id_with_a_space_is_refused(verified):
    rows = verified[1]["brats"].set_index("case_id")
    assert rows.loc["a case", "problem"] == "case_id"
    assert "letters, digits, '.', '_' and '-' only" in rows.loc["a case", "message"]


def test_a_loop_of_links_is_a_warning_and_not_followed(verified):
    rows = verified[1]["brats"]
    loop = rows[rows["problem"] == "link_loop"]
    assert loop["severity"].tolist() == ["warning"]
    assert "/sound/back: found a link to a folder that it lies in" in loop["message"].item()


def test_a_sound_case_among_them_has_no_problem(verified):
    assert "sound" not in set(verified[1]["brats"]["case_id"])


def test_a_3d_image_where_4d_is_expected_is_one_row(verified):
    errors = verified[1]["msd"][verified[1]["msd"]["severity"] == "error"]
    assert len(errors) == 1
    assert "3" in errors["found"].item() and "4" in errors["expected"].item()


def test_a_value_4_under_the_scheme_1_2_3_names_the_schemes_that_fit(verified):
    rows = verified[1]["four"]
    assert rows["case_id"].tolist() == ["BraTS-GLI-00000-000"]
    assert "found label value 4; expected values 0, 1, 2, 3 of the scheme 'brats2023'" in rows["message"].item()
    assert "would fit: canonical, brats2021, brats2024" in rows["message"].item()


def test_a_patient_in_two_folds_is_one_row(verified):
    rows = verified[1]["sheet"]
    leak = rows[rows["problem"] == "patient_in_two_folds"]
    assert len(leak) == 1
    assert "the patient p0 in the folds 0 and 1 of fold_of_2 (cases t0, t1)" in leak["message"].item()


def test_a_byte_order_mark_and_windows_line_ends_are_read_and_told(verified):
    rows = verified[1]["sheet"]
    told = rows[rows["problem"] == "table_format"]
    assert told["severity"].tolist() == ["warning"]
    assert "a byte order mark and Windows line ends" in told["found"].item()
    assert not rows["problem"].isin(["missing_label", "missing_channel"]).any()


def test_the_run_stops_with_all_of_them_and_no_traceback(verified):
    run, _ = verified
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    assert run.stdout.count("nothing was trained") == 4
