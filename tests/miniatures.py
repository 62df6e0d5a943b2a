"""Small data sets that lie and are named as the published ones do: ``make_miniature(key, folder)``.

Volumes have 12 × 14 × 10 voxels, every image differs from every other, and every tumour has all labels of its scheme. With
``real`` (the folder of real MRI) the voxels are a real case's, thinned out; without it they are noise in an ellipsoid.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from numpy.typing import NDArray

SHAPE = (12, 14, 10)
CHANNELS = ("t1", "t1ce", "t2", "flair")
LPS = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 13.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])  # as BraTS's, at this size
NCR, ED, ET, RC = 1, 2, 3, 4
BRATS2021 = {NCR: 1, ED: 2, ET: 4}  # canonical label: raw value
BRATS2023 = {NCR: 1, ED: 2, ET: 3}
BRATS2024 = {NCR: 1, ED: 2, ET: 3, RC: 4}
MSD = {NCR: 2, ED: 1, ET: 3}
UNDERSCORES = {"t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "flair": "_flair", "label": "_seg"}
HYPHENS = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f", "label": "-seg"}

Case = dict[str, NDArray[Any]]  # role: array (x, y, z)


def make_case(number: int, raw: dict[int, int], real: Path | None = None) -> Case:
    """Return four int16 images, and a uint8 label map whose canonical labels are written as ``raw`` says."""
    case = thin_case(number, real) if real else noise_case(number)
    labels = case["label"]
    x, y, z = 2 + number % 3, 3 + number % 2, 2 + number % 2
    labels[x : x + 5, y : y + 5, z : z + 4] = ED  # sizes differ by case: what the real labels add, or the row below
    labels[x + 5, y : y + 1 + number % 5, z] = ED
    labels[x + 1 : x + 4, y + 1 : y + 4, z + 1 : z + 3] = ET
    labels[x + 2, y + 2, z + 1 : z + 3] = NCR
    if RC in raw:
        labels[x + 1, y + 1 : y + 4, z + 1] = RC
    for channel in CHANNELS:  # tumour voxels are never background
        image = case[channel]
        image[(labels > 0) & (image == 0)] = 150 + number
    written = np.zeros(SHAPE, np.uint8)
    for label, value in raw.items():
        written[labels == label] = value
    return {**case, "label": written}


def noise_case(number: int) -> Case:
    """Return noise in an ellipsoid (the brain; 0 around it) and an empty label map."""
    rng = np.random.default_rng(number)
    grid = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    brain = ((grid / (np.array(SHAPE).reshape(3, 1, 1, 1) / 2.05)) ** 2).sum(axis=0) < 1
    images = {c: np.where(brain, rng.integers(100, 900, SHAPE), 0).astype(np.int16) for c in CHANNELS}
    return {**images, "label": np.zeros(SHAPE, np.uint8)}


def thin_case(number: int, real: Path) -> Case:
    """Return every n-th voxel of a real BraTS 2021 case's brain, from another first voxel for each number."""
    folders = sorted((real / "brats2021").iterdir())
    folder = folders[number % len(folders)]
    volumes = {role: np.asarray(nib.load(folder / f"{folder.name}_{name}.nii.gz").dataobj) for role, name in SOURCES.items()}
    brain = np.argwhere(volumes["flair"] > 0)
    low, high = brain.min(axis=0), brain.max(axis=0)
    steps = [
        np.linspace(a, b, n + 2)[1:-1].astype(int) + number // len(folders) for a, b, n in zip(low, high, SHAPE, strict=True)
    ]
    case = {role: volume[np.ix_(*steps)] for role, volume in volumes.items()}
    return {
        **{c: case[c].astype(np.int16) for c in CHANNELS},
        "label": np.where(case["label"] == 4, ET, case["label"]).astype(np.uint8),
    }


def real_folder() -> Path | None:
    """Return the folder of real MRI, where there is one."""
    folder = Path(os.environ.get("GLIOFLOW_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return folder if folder.is_dir() else None


SOURCES = {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "label": "seg"}


def save(path: Path, data: NDArray[Any], affine: NDArray[Any] = LPS) -> Path:
    """Write an array as NIfTI, independently of the code under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_lines(path: Path, *lines: str) -> None:
    """Write a text table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_brats(folder: Path, ids: list[str], suffixes: dict[str, str], raw: dict[int, int], real: Path | None) -> None:
    """Write cases in folders of their own; an id may have folders before it."""
    for number, place in enumerate(ids):
        name = place.rsplit("/", 1)[-1]
        for role, data in make_case(number, raw, real).items():
            save(folder / place / f"{name}{suffixes[role]}.nii.gz", data)


def make_brats2018(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write HGG and LGG folders; survival is known of HGG alone, and of one patient only that he lived."""
    root = folder / "MICCAI_BraTS_2018_Data_Training"
    names = [f"Brats18_{('CBICA', 'TCIA01', '2013')[n % 3]}_{n + 2}_1" for n in range(cases)]
    write_brats(root, [f"{grade_of(n)}/{name}" for n, name in enumerate(names)], UNDERSCORES, BRATS2021, real)
    rows = survival_rows([name for n, name in enumerate(names) if grade_of(n) == "HGG"])
    write_lines(root / "survival_data.csv", "BraTS18ID,Age,Survival,ResectionStatus", *rows)
    return {"dataset": "brats2018", "path": folder.as_posix()}


def make_brats2019(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write HGG and LGG folders, survival and the mapping of names."""
    root = folder / "MICCAI_BraTS_2019_Data_Training"
    names = [f"BraTS19_{('CBICA_AAB', 'TCIA01_147', '2013_10')[n % 3]}{n}_1" for n in range(cases)]
    write_brats(root, [f"{grade_of(n)}/{name}" for n, name in enumerate(names)], UNDERSCORES, BRATS2021, real)
    rows = survival_rows([name for n, name in enumerate(names) if grade_of(n) == "HGG"])
    write_lines(root / "survival_data.csv", "BraTS19ID,Age,Survival,ResectionStatus", *rows)
    header = "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID"
    write_lines(root / "name_mapping.csv", header, *(f"{grade_of(n)},NA,NA,NA,{name}" for n, name in enumerate(names)))
    return {"dataset": "brats2019", "path": folder.as_posix()}


def make_brats2020(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write the folders of BraTS 2020; the last is case 355, whose label has another name and is not compressed."""
    root = folder / "MICCAI_BraTS2020_TrainingData"
    names = [f"BraTS20_Training_{number:03d}" for number in [*range(1, cases), 355]]
    write_brats(root, names, UNDERSCORES, BRATS2021, real)
    label = root / names[-1] / f"{names[-1]}_seg.nii.gz"
    nib.save(nib.load(label), label.with_name("W39_1998.09.19_Segm.nii"))
    label.unlink()
    header = (
        "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID,BraTS_2020_subject_ID"
    )
    write_lines(root / "name_mapping.csv", header, *(f"{grade_of(n)},NA,NA,NA,NA,{name}" for n, name in enumerate(names)))
    rows = survival_rows([name for n, name in enumerate(names) if grade_of(n) == "HGG"])
    write_lines(root / "survival_info.csv", "Brats20ID,Age,Survival_days,Extent_of_Resection", *rows)
    return {"dataset": "brats2020", "path": folder.as_posix()}


def grade_of(number: int) -> str:
    """Return HGG for two cases of three, else LGG."""
    return "LGG" if number % 3 == 2 else "HGG"


def survival_rows(names: list[str]) -> list[str]:
    """Return rows of a BraTS survival table: id, age, days (or how long alive), resection."""
    days = ("289", "ALIVE (361 days later)", "616")
    return [f"{name},{60.463 + n:.3f},{days[n % 3]},{('GTR', 'NA', 'STR')[n % 3]}" for n, name in enumerate(names)]


def make_brats2021(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write the folders of BraTS 2021."""
    write_brats(folder, [f"BraTS2021_{number:05d}" for number in range(cases)], UNDERSCORES, BRATS2021, real)
    return {"dataset": "brats2021", "path": folder.as_posix()}


def make_brats2023(
    key: str, prefix: str, raw: dict[int, int], first: int
) -> Callable[[Path, int, Path | None], dict[str, Any]]:
    """Return the maker of a data set that is named as BraTS 2023's are; the last case is a second session of a patient."""

    def make(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
        names = [f"{prefix}-{n + 2:05d}-{first:03d}" for n in range(cases - 1)]
        write_brats(folder / "TrainingData", [*names, f"{names[-1][:-3]}{first + 1:03d}"], HYPHENS, raw, real)
        return {"dataset": key, "path": folder.as_posix()}

    return make


def make_upenn_gbm(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write UPENN-GBM: every second label refined by hand, the last case a follow-up, and one more without a label.

    The real follow-ups have none either; here one has, so that a patient has two cases.
    """
    root = folder / "NIfTI-files"
    names = [f"UPENN-GBM-{n + 1:05d}_11" for n in range(cases - 1)]
    names.append(names[0].replace("_11", "_21"))
    tokens = {"t1": "T1", "t1ce": "T1GD", "t2": "T2", "flair": "FLAIR"}
    for n, name in enumerate([*names, f"UPENN-GBM-{cases:05d}_11"]):
        case = make_case(n, BRATS2021, real)
        for role, token in tokens.items():
            save(root / "images_structural" / name / f"{name}_{token}.nii.gz", case[role])
        if n < cases:
            save(root / "automated_segm" / f"{name}_automated_approx_segm.nii.gz", case["label"])
        if n < cases and n % 2 == 0:
            save(root / "images_segm" / f"{name}_segm.nii.gz", case["label"])
    header = "ID,Gender,Age_at_scan_years,Survival_from_surgery_days_UPDATED,Survival_Status,Survival_Censor,IDH1,MGMT,KPS"
    unknown = "Not Available"
    rows = [
        f"{name},{'FM'[n % 2]},{63.4 + n:.2f},{172 + 90 * n if n % 3 else unknown},Deceased,1,"
        f"{('Wildtype', 'NOS/NEC', 'Mutated')[n % 3]},{('Unmethylated', unknown, 'Methylated')[n % 3]},{unknown},"
        f"{'YN'[n % 2]},{'Not Applicable' if name.endswith('_11') else '2'},{0 if name.endswith('_11') else 241}"
        for n, name in enumerate(names)
    ]
    table = f"{header},GTR_over90percent,PsP_TP_score,Time_since_baseline_preop"
    write_lines(folder / "UPENN-GBM_clinical_info_v2.1.csv", table, *rows)
    return {"dataset": "upenn_gbm", "path": folder.as_posix()}


def make_msd_task01(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write Task01: 4D images in the order FLAIR, T1w, t1gd, T2w, the junk that macOS adds, and a test image."""
    root = folder / "Task01_BrainTumour"
    names = [f"BRATS_{number:03d}" for number in range(1, cases + 1)]
    for n, name in enumerate([*names, "BRATS_485"]):
        case = make_case(n, MSD, real)
        image = np.stack([case[role] for role in ("flair", "t1", "t1ce", "t2")], axis=-1).astype(np.float32)
        save(root / ("imagesTr" if n < cases else "imagesTs") / f"{name}.nii.gz", image)
        if n < cases:
            save(root / "labelsTr" / f"{name}.nii.gz", case["label"])
            (root / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"\x00\x05\x16\x07 Mac OS X")
    description = {
        "name": "BRATS",
        "description": "Gliomas segmentation tumour and oedema in on brain images",
        "reference": "https://www.med.upenn.edu/sbia/brats2017.html",
        "licence": "CC-BY-SA 4.0",
        "release": "2.0 04/05/2018",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": cases,
        "numTest": 1,
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names],
        "test": ["./imagesTs/BRATS_485.nii.gz"],
    }
    write_lines(root / "dataset.json", json.dumps(description, indent=1))
    return {"dataset": "msd_task01", "path": folder.as_posix()}


LGG_COLUMNS = (
    "Patient;RNASeqCluster;MethylationCluster;miRNACluster;CNCluster;RPPACluster;OncosignCluster;COCCluster;histological_type;"
    "neoplasm_histologic_grade;tumor_tissue_site;laterality;tumor_location;gender;age_at_initial_pathologic;race;ethnicity;death01"
)


def make_lgg_kaggle(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write kaggle_3m: RGB slices (before contrast, FLAIR, after contrast) numbered 1, 2, … 10, and masks."""
    root = folder / "kaggle_3m"
    ids = [f"TCGA_{('CS', 'DU', 'HT')[n % 3]}_{4941 + n}" for n in range(cases)]
    for n, patient in enumerate(ids):
        case = make_case(n, {NCR: 255, ED: 255, ET: 255}, real)
        colours = [to_8_bit(case[role]) for role in ("t1", "flair", "t1ce")]
        write_slices(root / f"{patient}_199609{n + 10}", colours, case["label"])
    rows = [
        f"{patient};2;4;2;2;;3;2;{n % 3 + 1};{n % 2 + 1};1;{n % 3};2;{n % 2 + 1};{40 + n};3;2;{n % 2}"
        for n, patient in enumerate(ids)
    ]
    write_lines(root / "data.csv", LGG_COLUMNS, *rows)
    return {"dataset": "lgg_kaggle", "path": folder.as_posix()}


def to_8_bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image scaled to 0–255."""
    return (image * (255.0 / image.max())).astype(np.uint8)


def write_slices(folder: Path, colours: list[NDArray[np.uint8]], mask: NDArray[np.uint8]) -> None:
    """Write volumes (x, y, z) as the slices of one patient: rows are y, columns x."""
    folder.mkdir(parents=True, exist_ok=True)
    for z in range(mask.shape[2]):
        rgb = np.stack([colour[:, :, z].T for colour in colours], axis=-1)
        tifffile.imwrite(folder / f"{folder.name}_{z + 1}.tif", rgb, photometric="rgb")
        tifffile.imwrite(folder / f"{folder.name}_{z + 1}_mask.tif", np.ascontiguousarray(mask[:, :, z].T))


def make_bids(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write a raw BIDS tree with a derivative that holds the masks; the last patient has two sessions."""
    sessions = [*((f"sub-{n + 1:02d}", "ses-1") for n in range(cases - 1)), (f"sub-{cases - 1:02d}", "ses-2")]
    suffixes = {"t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w", "flair": "FLAIR"}
    for n, (subject, session) in enumerate(sessions):
        case = make_case(n, BRATS2023, real)
        for role, suffix in suffixes.items():
            save(folder / subject / session / "anat" / f"{subject}_{session}_{suffix}.nii.gz", case[role])
        masks = folder / "derivatives" / "masks" / subject / session / "anat"
        save(masks / f"{subject}_{session}_desc-tumour_dseg.nii.gz", case["label"])
    description = {"Name": "miniature", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    write_lines(folder / "dataset_description.json", json.dumps(description))
    derived = {**description, "DatasetType": "derivative", "GeneratedBy": [{"Name": "hand"}]}
    write_lines(folder / "derivatives" / "masks" / "dataset_description.json", json.dumps(derived))
    subjects = sorted({subject for subject, _ in sessions})
    rows = [f"{subject}\t{50 + n}\t{'FM'[n % 2]}\tn/a" for n, subject in enumerate(subjects)]
    write_lines(folder / "participants.tsv", "participant_id\tage\tsex\thandedness", *rows)
    return {"dataset": "bids", "path": folder.as_posix(), "label_scheme": "brats2023"}


def make_table(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write cases in a layout of one's own, and the table that says where they lie."""
    rows = []
    for n in range(cases):
        for role, data in make_case(n, BRATS2021, real).items():
            save(folder / "scans" / str(n) / f"{role}.nii.gz", data)
        paths = [f"scans/{n}/{role}.nii.gz" for role in (*CHANNELS, "label")]
        rows.append(",".join([f"case{n}", f"patient{n}", *paths, str(50 + n)]))
    write_lines(folder / "cases.csv", "case_id,patient_id,t1,t1ce,t2,flair,label,age_years", *rows)
    return {"dataset": "table", "table": (folder / "cases.csv").as_posix(), "label_scheme": "brats2021"}


MAKERS: dict[str, Callable[[Path, int, Path | None], dict[str, Any]]] = {
    "brats2018": make_brats2018,
    "brats2019": make_brats2019,
    "brats2020": make_brats2020,
    "brats2021": make_brats2021,
    "brats2023_gli": make_brats2023("brats2023_gli", "BraTS-GLI", BRATS2023, 0),
    "brats2024_gli": make_brats2023("brats2024_gli", "BraTS-GLI", BRATS2024, 100),
    "brats_africa": make_brats2023("brats_africa", "BraTS-SSA", BRATS2023, 0),
    "brats_men": make_brats2023("brats_men", "BraTS-MEN", BRATS2023, 0),
    "upenn_gbm": make_upenn_gbm,
    "msd_task01": make_msd_task01,
    "lgg_kaggle": make_lgg_kaggle,
    "bids": make_bids,
    "table": make_table,
}


def make_miniature(key: str, folder: Path, cases: int = 6, real: Path | None = None) -> dict[str, Any]:
    """Write a small data set below ``folder``; return the block that a study's configuration needs for it."""
    folder.mkdir(parents=True, exist_ok=True)
    return MAKERS[key](folder, cases, real)
