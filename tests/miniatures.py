"""Small data sets in the folders, names and irregularities of the published ones: ``make_miniature(key, folder)``.

Volumes have 12 × 14 × 10 voxels, and every image differs from every other. Tumours have all labels of their scheme but for one
case in each data set of several labels, which has no enhancing tumour. With ``real`` (the folder of real MRI) the voxels are a
real case's, thinned out; without it they are noise in an ellipsoid. With ``archive`` the folder also has what the data set's
archives hold besides: validation cases, other diagnoses, second copies, the files of macOS (docs/data-sets.md has the sources).
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from miniature_cases import (
    BRATS2021,
    BRATS2023,
    BRATS2024,
    CHANNELS,
    ED,
    ET,
    HYPHENS,
    MSD,
    NCR,
    SHAPE,
    UNDERSCORES,
    make_case,
    save,
    write_brats,
    write_lines,
    write_macos,
    write_validation,
)
from numpy.typing import NDArray


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
    """Write the training set of BraTS 2021 as TCIA gives it out; the last two cases are of one patient."""
    root = folder / "BraTS2021_TrainingSet"
    places = [f"{('UPENN-GBM', 'TCGA-LGG')[number % 2]}/BraTS2021_{number:05d}" for number in range(cases - 2)]
    places += [f"UCSF-PDGM/BraTS2021_{number:05d}" for number in (626, 758)]
    write_brats(root, places, UNDERSCORES, BRATS2021, real)
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
        case = make_case(n, BRATS2021, real, (NCR, ET) if n == 2 else ())
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


PDGM_COLUMNS = (
    "ID,Sex,Age at MRI,WHO CNS Grade,Final pathologic diagnosis (WHO 2021),MGMT status,MGMT index,1p/19q,IDH,1-dead 0-alive,OS,"
    "EOR,Biopsy prior to imaging,BraTS21 ID,BraTS21 Segmentation Cohort,BraTS21 MGMT Cohort"
)


def make_ucsf_pdgm(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write UCSF-PDGM: a folder …_nifti a case, other maps beside, a follow-up, and a table whose ids have three digits."""
    root = folder / "UCSF-PDGM-v5"
    names = [f"UCSF-PDGM-{n + 4:04d}" for n in range(cases - 1)]
    names.append(f"{names[-1]}_FU016d")
    tokens = {"t1": "T1", "t1ce": "T1c", "t2": "T2", "flair": "FLAIR", "label": "tumor_segmentation"}
    for n, name in enumerate(names):
        place = root / f"{name}_nifti"
        case = make_case(n, BRATS2021, real, (NCR, ET) if n == 2 else ())
        for role, token in tokens.items():
            save(place / f"{name}_{token}.nii.gz", case[role])
        for token in ("T1_bias", "T1c_bias", "ADC", "brain_segmentation"):
            save(place / f"{name}_{token}.nii.gz", case["t1"])
        save(place / f"{name}_DTI_eddy_noreg.nii.gz", np.zeros((4, 4, 3, 2), np.int16))
        (place / f"{name}_DTI_eddy.eddy_rotated_bvecs").write_text("1 0 0\n")
    kinds = ("Glioblastoma, IDH-wildtype", '"Astrocytoma, IDH-mutant"', "unknown")
    rows = [
        f'UCSF-PDGM-{n + 4:03d},{"MF"[n % 2]},{40 + n},{(4, 2, 3)[n % 3]},"{kinds[n % 3].strip(chr(34))}",'
        f"{('negative', 'indeterminate', 'positive')[n % 3]},{n},{'unknown' if n % 2 else 'intact'},"
        f"{('wildtype', 'IDH1 p.R132H', 'mutated (NOS)')[n % 3]},{n % 2},{100 + 90 * n},{('GTR', 'STR', 'biopsy')[n % 3]},No,,,"
        for n in range(cases - 1)
    ]
    rows.append(rows[-1].replace(f"UCSF-PDGM-{cases + 2:03d},", f"UCSF-PDGM-{cases + 2:03d}_FU016d,"))
    write_lines(folder / "UCSF-PDGM-metadata_v5.csv", PDGM_COLUMNS, *rows)
    return {"dataset": "ucsf_pdgm", "path": folder.as_posix()}


def make_ucsf_alptdg(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write UCSF-ALPTDG: two times a patient in one folder, and what changed between them with labels of its own."""
    root = folder / "UCSF_POSTOP_GLIOMA_DATASET_FINAL_v1.0"
    for n in range(cases):
        patient, time = str(100001 + n // 2), n % 2 + 1
        absent = (NCR, ED, ET) if n == 3 else (NCR, ET) if n == 2 else ()
        for role, data in make_case(n, BRATS2024, real, absent).items():
            name = "seg" if role == "label" else role
            save(root / patient / f"{patient}_time{time}_{name}.nii.gz", data.astype(np.float64))  # masks too
        save(root / patient / f"{patient}_time{time}_t1ce-t1.nii.gz", np.zeros(SHAPE))
        for change in ("flair_subtraction", "flair_subtraction_seg", "t1ce_subtraction", "t1ce_subtraction_seg"):
            save(root / patient / f"{patient}_{change}.nii.gz", np.full(SHAPE, 2.0))
    (root / "UCSF_PostopGlioma_Table S1 R1 V5.0_UNBLINDED_FINAL.xlsx").write_bytes(b"PK")
    return {"dataset": "ucsf_alptdg", "path": folder.as_posix()}


def make_ucsd_ptgbm(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write UCSD-PTGBM's two packages; the last patient has an examination in each. Arrays are oriented ILA."""
    packages = [
        folder / "PKG - UCSD-PTGBM/UCSD-PTGBM",
        folder / "PKG - UCSD-PTGBM-BraTS-2024-test-set/UCSD-PTGBM-BraTS-2024-test-set",
    ]
    names = [*(f"UCSD-PTGBM-{n + 1:04d}_01" for n in range(cases - 1)), f"UCSD-PTGBM-{cases - 1:04d}_02"]
    tokens = {"t1": "T1pre", "t1ce": "T1post", "t2": "T2", "flair": "FLAIR", "label": "BraTS_tumor_seg"}
    ila = np.array([[0, -1.0, 0, 13], [0, 0, 1.0, 0], [-1.0, 0, 0, 11], [0, 0, 0, 1]])
    for n, name in enumerate(names):
        place = packages[n == cases - 1] / name
        case = make_case(n, BRATS2024, real, (NCR, ED, ET) if n == 3 else (NCR, ET) if n == 2 else ())
        for role, token in tokens.items():
            save(place / f"{name}_{token}.nii.gz", case[role].astype(np.uint16 if role == "label" else np.float32), ila)
        for token in ("enhancing_cellular_tumor_seg", "SWAN"):
            save(place / f"{name}_{token}.nii.gz", np.zeros(SHAPE, np.uint8), ila)
        (place / f"{name}_total_cellular_tumor_seg.nii.gz").write_bytes(b"")
    return {"dataset": "ucsd_ptgbm", "path": folder.as_posix()}


def make_lumiere(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write LUMIERE: a folder a patient and one a week; one week lacks a sequence and so has no segmentation."""
    root = folder / "Imaging-v202211/Imaging"
    weeks = [("001", "000-1"), ("001", "000-2"), *((f"{n:03d}", f"{n:03d}") for n in range(2, cases))]
    raw = {ET: 1, NCR: 2, ED: 3}
    mni = np.array([[-1.0, 0, 0, 6], [0, 1.0, 0, -7], [0, 0, 1.0, -5], [0, 0, 0, 1]])
    for n, (patient, week) in enumerate(weeks):
        place = root / f"Patient-{patient}/week-{week}"
        case = make_case(n, raw, real, (NCR, ET) if n == 2 else ())
        atlas = place / "DeepBraTumIA-segmentation/atlas"
        for role, token in {"t1": "t1", "t1ce": "ct1", "t2": "t2", "flair": "flair"}.items():
            save(atlas / f"skull_strip/{token}_skull_strip.nii.gz", case[role].astype(np.float32), mni)
            save(place / f"{token.upper()}.nii.gz", case[role][::2])  # as it was made, on a grid of its own
        save(atlas / "skull_strip/brain_mask.nii.gz", (case["flair"] > 0).astype(np.uint8), mni)
        save(atlas / "segmentation/seg_mask.nii.gz", case["label"], mni)
        save(place / "HD-GLIO-AUTO-segmentation/registered/segmentation.nii.gz", case["label"] % 3)
    lacking = root / "Patient-002/week-040"
    case = make_case(cases, raw, real)
    for token in ("CT1", "T2", "FLAIR"):
        save(lacking / f"{token}.nii.gz", case["t1ce"])
    save(lacking / "DeepBraTumIA-segmentation/atlas/skull_strip/ct1_skull_strip.nii.gz", case["t1ce"].astype(np.float32), mni)
    header = "Patient,Survival time (weeks),Sex,Age at surgery (years),IDH (WT: wild type),IDH method"
    header += ",MGMT qualitative,MGMT quantitative"
    rows = [
        f"Patient-{n:03d},{'na' if n == 3 else 40 + n},{('male', 'female')[n % 2]},{50 + n},WT,BES,not methylated,0.00%"
        for n in range(1, cases)
    ]
    write_lines(folder / "LUMIERE-Demographics_Pathology.csv", header, *rows)
    return {"dataset": "lumiere", "path": folder.as_posix(), "label_scheme": "et_ncr_ed"}


def make_msd_task01(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write Task01: 4D images in the order FLAIR, T1w, t1gd, T2w, the junk that macOS adds, and a test image."""
    root = folder / "Task01_BrainTumour"
    names = [f"BRATS_{number:03d}" for number in range(1, cases + 1)]
    for n, name in enumerate([*names, "BRATS_485"]):
        case = make_case(n, MSD, real, (NCR, ET) if n == 2 else ())
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


LGG_LACKING = {4: ("t1ce",), 5: ("t1", "t1ce")}  # number of the patient: sequences


def make_lgg_kaggle(folder: Path, cases: int, real: Path | None) -> dict[str, Any]:
    """Write kaggle_3m: RGB slices (before contrast, FLAIR, after contrast) numbered 1, 2, … 10, and masks.

    The fifth patient lacks the sequence after contrast, the sixth both of T1: FLAIR takes their place.
    """
    root = folder / "kaggle_3m"
    ids = [f"TCGA_{('CS', 'DU', 'HT')[n % 3]}_{4941 + n}" for n in range(cases)]
    for n, patient in enumerate(ids):
        case = make_case(n, {NCR: 255, ED: 255, ET: 255}, real)
        lacking = LGG_LACKING.get(n, ())
        colours = [to_8_bit(case["flair" if role in lacking else role]) for role in ("t1", "flair", "t1ce")]
        write_slices(root / f"{patient}_199609{n + 10}", colours, case["label"])
    rows = [
        f"{patient};2;4;2;2;;3;2;{n % 3 + 1};{n % 2 + 1};1;{n % 3};2;{n % 2 + 1};{40 + n};3;2;{n % 2}"
        for n, patient in enumerate(ids)
    ]
    rows[-1] = f"{ids[-1]};" + ";" * 16  # as of the one patient of whom nothing is known
    write_lines(root / "data.csv", LGG_COLUMNS, *rows)
    write_lines(root / "README.md", "# LGG Segmentation Dataset")
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
    "ucsf_pdgm": make_ucsf_pdgm,
    "ucsf_alptdg": make_ucsf_alptdg,
    "ucsd_ptgbm": make_ucsd_ptgbm,
    "lumiere": make_lumiere,
    "msd_task01": make_msd_task01,
    "lgg_kaggle": make_lgg_kaggle,
    "bids": make_bids,
    "table": make_table,
}


# What else a data set's archives hold, below the folder that its maker has written.


def add_validation(place: str, names: list[str], suffixes: dict[str, str], **tables: str) -> Callable[[Path], None]:
    """Return what writes validation cases into a folder, and a table of one line for each name of a file."""

    def add(folder: Path) -> None:
        write_validation(folder / place, names, suffixes)
        for name, header in tables.items():
            write_lines(folder / place / f"{name}.csv", header, f"{names[0]},{'1,' * header.count(',')}"[:-1])

    return add


def add_other_neoplasms(folder: Path) -> None:
    """Write a case of another diagnosis, with a label, and give gliomas the folder that they have beside it."""
    (folder / "TrainingData").rename(folder / "95_Glioma")
    write_brats(folder / "51_OtherNeoplasms", ["BraTS-SSA-00900-000"], HYPHENS, BRATS2023, None)


def add_unstripped(folder: Path) -> None:
    """Write the images with the skull that UPENN-GBM has besides."""
    root = folder / "NIfTI-files"
    for path in sorted(root.glob("images_structural/*/*.nii.gz")):
        target = root / "images_structural_unstripped" / path.parent.name / path.name.replace(".nii", "_unstripped.nii")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def add_second_tree(folder: Path) -> None:
    """Write all patients a second time, as Kaggle's archive has them."""
    shutil.copytree(folder / "kaggle_3m", folder / "lgg-mri-segmentation/kaggle_3m")


BESIDES: dict[str, Callable[[Path], None]] = {
    "brats2018": add_validation("MICCAI_BraTS_2018_Data_Validation", ["Brats18_CBICA_AAM_1"], UNDERSCORES),
    "brats2019": add_validation("MICCAI_BraTS_2019_Data_Validation", ["BraTS19_CBICA_AAM_1"], UNDERSCORES),
    "brats2020": add_validation(
        "MICCAI_BraTS2020_ValidationData", ["BraTS20_Validation_001", "BraTS20_Validation_002"], UNDERSCORES,
        name_mapping_validation_data="BraTS_2020_subject_ID,TCGA_TCIA_subject_ID",
        survival_evaluation="BraTS20ID,Age,ResectionStatus",
    ),
    "brats2021": add_validation("BraTS2021_ValidationSet/UPENN-GBM", ["BraTS2021_90001"], UNDERSCORES),
    "brats2023_gli": add_validation("ASNR-MICCAI-BraTS2023-GLI-Challenge-ValidationData", ["BraTS-GLI-90001-000"], HYPHENS),
    "brats2024_gli": add_validation("validation_data", ["BraTS-GLI-90001-100", "BraTS-GLI-90001-101"], HYPHENS),
    "brats_africa": add_other_neoplasms,
    "brats_men": add_validation("ASNR-MICCAI-BraTS2023-MEN-Challenge-ValidationData", ["BraTS-MEN-90001-000"], HYPHENS),
    "upenn_gbm": add_unstripped,
    "lgg_kaggle": add_second_tree,
}  # fmt: skip


def make_miniature(key: str, folder: Path, cases: int = 6, real: Path | None = None, archive: bool = False) -> dict[str, Any]:
    """Write a small data set below ``folder``; return the block that a study's configuration needs for it."""
    folder.mkdir(parents=True, exist_ok=True)
    block = MAKERS[key](folder, cases, real)
    if archive:
        BESIDES.get(key, lambda _: None)(folder)
        write_macos(folder)
    return block
