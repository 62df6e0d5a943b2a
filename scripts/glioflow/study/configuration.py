"""The study's configuration: one typed model from which the schema, the defaults and the documentation are made.

``glioflow.workflow.checks.load_study`` makes a ``Study`` of what Snakemake read from a YAML file.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from glioflow.console import UserError
from glioflow.study.metric_registry import RankingMetric
from glioflow.study.registry import Channel, Dataset, Patterns, Role, datasets
from glioflow.user_tables import read_user_table

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # names become folders and nnU-Net data set names
TRAINED_SETS = ("cv", "test")
RESERVED_SETS = (*TRAINED_SETS, "given")
# What follows a set's name in the names of the files beside its scores (rules/evaluation.smk).
RESERVED_ENDINGS = ("_summary", "_groups", "_warnings", "_conventions", "_convention_ranks", "_shards", "_export")
OWN_LAYOUTS = ("folders", "table", "bids")  # data sets of the user's own, which need a label scheme
DATA_VARIABLE = "GLIOFLOW_DATA"

Region = Literal["WT", "TC", "ET", "ED", "NCR", "RC"]
Network = Literal["plain", "resenc_m", "resenc_l", "attention_resunet", "equiunet"]
Loss = Literal["dice_ce", "soft_dice", "focal_ce"]
Optimiser = Literal["sgd", "adam", "adamw", "ranger"]
Schedule = Literal["poly", "cosine", "constant"]
Tta = Literal[True, False, "both"]
OnMismatch = Literal["error", "use_image_header"]
ZEROS = "zeros"
StandIn = Literal["t1", "t1ce", "t2", "flair", "zeros"]
Name = Annotated[str, Field(pattern=NAME)]


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors, values are not changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Grid(Block):
    """The common grid that a cohort's images are brought to. Without this block, no image is changed."""

    orientation: str = Field(
        "LPS",
        pattern="^([LR][AP][SI]|[LR][SI][AP]|[AP][LR][SI]|[AP][SI][LR]|[SI][LR][AP]|[SI][AP][LR])$",
        description="Where the axes of the arrays point; BraTS's is LPS. Turning axes moves voxels and interpolates nothing.",
    )
    spacing_mm: tuple[float, float, float] | None = Field(
        None, description="Voxel edge lengths in mm along those axes. Default: those of the reference channel."
    )
    reference: Channel | None = Field(
        None, description="Channel whose grid the case's other images are brought to. Default: the first that the case has."
    )


class Cohort(Block):
    """What every cohort has, whatever its data set."""

    test_fraction: float = Field(0.0, ge=0, lt=1, description="Share of the patients held out as the `test` set.")
    test_size: int | None = Field(None, ge=1, description="Instead of `test_fraction`: how many patients are held out.")
    test_cases: list[str] = Field(
        [], description="Instead of `test_fraction`: the cases (or patients) held out, by id. All cases of a patient go along."
    )
    train_size: int | None = Field(
        None,
        ge=2,
        description="How many of the patients that are not held out train, drawn as those are; the others are left aside, as "
        "`external`. Default: all.",
    )
    split: str | None = Field(
        None,
        description="Instead of all these: a file with the split, such as a paper's. A table has the columns case_id or "
        "patient_id, set (`train`, `test`, `external`), and fold if the folds are known; a `split.csv` of glioflow is taken "
        "over byte for byte; nnU-Net's `splits_final.json` gives the folds of a cohort in which every case trains.",
    )
    stratify_by: str | None = Field(
        None, description="Covariate whose values each set and each fold gets alike, before tumour volume."
    )
    external: bool = Field(
        False,
        description="The cohort is only predicted and scored; nothing is trained on it, no case is held out. Without truth "
        "masks: `labelled: false`.",
    )
    seed: int = Field(0, ge=0, description="Seed of the train/test split and of the folds (and of the phantoms).")
    labelled: bool = Field(
        True,
        description="Whether the cases have truth masks. `false`, of an `external` cohort: it is predicted and not scored, and "
        "labels that are there are not read.",
    )


class RealCohort(Cohort):
    """What a cohort of images that exist already has."""

    covariates: str | None = Field(
        None,
        description="CSV of clinical columns, with a column case_id or patient_id; they travel to scores, failure analysis and "
        "report, beside those that the data set brings.",
    )
    on_geometry_mismatch: OnMismatch = Field(
        "error",
        description="Where a label's header disagrees with its image: stop, or take voxels by index with the image's header.",
    )
    on_missing_channel: Literal["error", "exclude", "substitute"] = Field(
        "error",
        description="Where a case lacks a channel that the study reads: stop, leave the case out, or take what `substitute` "
        "names in its place.",
    )
    substitute: dict[Channel, StandIn] = Field(
        {},
        description="With `on_missing_channel: substitute`: what takes the place of each channel where it is missing, as "
        "`{t1: flair, t1ce: zeros}`: another channel of the case, or an image of zeros. Others stay errors.",
    )
    grid: Grid | None = Field(None, description="Bring the images to a common grid. Default: they stay as they are.")
    skull_stripped: bool | None = Field(
        None, description="Whether the images show the brain alone, which is then checked. Default: as of the data set."
    )


class PhantomCohort(Cohort):
    """Phantoms: brain-like volumes with planted causes of failure, made by the workflow."""

    dataset: Literal["phantom"] = Field(description="`phantom`.")
    cases: int = Field(24, ge=1, description="How many cases to make.")
    planted: dict[Literal["low_contrast", "small_volume", "heavy_noise"], Annotated[int, Field(ge=0)]] = Field(
        default={"low_contrast": 5, "small_volume": 1, "heavy_noise": 1},
        description="How many cases get each planted difficulty, an extreme one.",
    )
    difficulty: Literal["graded", "volume", "none"] = Field(
        "graded",
        description="What makes the other cases harder or easier, by degrees: `graded`, contrast above all, noise and size "
        "too; `volume`, the tumour's size alone; `none`, nothing.",
    )
    shape: tuple[int, int, int] = Field((80, 96, 80), description="Voxels along x, y and z.")
    spacing_mm: tuple[float, float, float] = Field((2.0, 2.0, 2.0), description="Voxel edge lengths in mm.")


class FolderCohort(RealCohort):
    """Cases below a folder: a data set of config/datasets.yaml, or `folders` with patterns of one's own."""

    dataset: str = Field(description="A key of `config/datasets.yaml`, or `folders` with your own `files`.")
    path: str | None = Field(
        None,
        description="Folder of the data set. `$VARIABLES` of the environment are filled in. Without it the data set is fetched "
        "into the folder `data`.",
    )
    files: dict[Role, Patterns] | None = Field(
        None,
        description="Where each channel and the label are under `path`: `{case}` stands for the case's id (or `{patient}` and "
        "`{session}` for its parts), `**/` at the beginning for any folders, `*` for part of a name; a list gives several "
        "places. Default: the data set's own layout.",
    )
    label_scheme: str | None = Field(None, description="A key of `config/label_schemes.yaml`. Default: the data set's own.")
    patient_id: str | None = Field(
        None,
        description="Regular expression whose first group in the case id is the patient. Default: the data set's own.",
    )
    spacing_mm: tuple[float, float, float] | None = Field(
        None, description="Voxel edge lengths in mm, for data sets whose files do not give them (`lgg_kaggle`)."
    )


class TableCohort(RealCohort):
    """Any layout: a CSV with one row a case."""

    dataset: Literal["table"] = Field(description="`table`.")
    table: str = Field(
        description="CSV with columns case_id, patient_id, one per channel (t1, t1ce, t2, flair), label; further columns are "
        "covariates. Paths are relative to the table's folder."
    )
    label_scheme: str | None = Field(None, description="A key of `config/label_schemes.yaml`; needed unless `labelled: false`.")


class BidsCohort(RealCohort):
    """A BIDS tree, raw or derivative: every subject, or every session of a subject, is a case."""

    dataset: Literal["bids"] = Field(description="`bids`.")
    path: str = Field(description="Folder with the tree's `dataset_description.json`.")
    label_scheme: str | None = Field(None, description="A key of `config/label_schemes.yaml`; needed unless `labelled: false`.")
    filters: dict[Role, dict[str, str]] | None = Field(
        None,
        description="What a file's entities must be for each role, as `{t1ce: {suffix: T1w, ce: gadolinium}}`; an "
        "empty entity (`ce: ''`) must be absent, `'*'` present. Default: T1w without and with `ce`, T2w, FLAIR, and `dseg` for "
        "the label.",
    )


def _cohort_kind(value: Any) -> str:
    dataset = value.get("dataset") if isinstance(value, Mapping) else getattr(value, "dataset", None)
    return dataset if dataset in ("phantom", "table", "bids") else "folders"


AnyCohort = Annotated[
    Annotated[PhantomCohort, Tag("phantom")]
    | Annotated[TableCohort, Tag("table")]
    | Annotated[BidsCohort, Tag("bids")]
    | Annotated[FolderCohort, Tag("folders")],
    Discriminator(_cohort_kind),
]


class Plans(Block):
    """Overrides of what nnU-Net's planner chooses. Leave them out to train what nnU-Net plans."""

    patch_size: list[int] | None = Field(None, description="Patch in voxels, in nnU-Net's axis order (z, y, x).")
    batch_size: int | None = Field(None, ge=1, description="Patches per iteration.")
    n_stages: int | None = Field(None, ge=2, description="Resolution stages of the U-Net.")
    base_features: int | None = Field(None, ge=1, description="Feature maps of the first stage; they double at each stage.")


class Swa(Block):
    """Stochastic weight averaging after the epochs: cycles with a learning rate that restarts, their weights averaged."""

    cycles: int = Field(5, ge=1, description="How many cycles follow the epochs.")
    epochs_per_cycle: int = Field(30, ge=1, description="Epochs of a cycle.")
    update_every: int = Field(3, ge=1, description="Epochs between two additions to the average.")
    initial_lr: float = Field(5e-5, gt=0, description="Learning rate (of Adam) that each cycle starts with.")


class Postprocessing(Block):
    """What to try on the masks of `cv`; a step is kept only where it raises the mean Dice of its region and lowers no other."""

    largest_component: list[Literal["WT", "TC", "ET", "RC"]] = Field(
        ["WT", "TC", "ET"], description="Regions of which only the largest component may be kept."
    )
    min_volume_ml: list[Annotated[float, Field(gt=0)]] = Field(
        [0.05, 0.1, 0.25, 0.5, 1.0], description="Components of a region smaller than this may be dropped; ml."
    )
    et_threshold_ml: list[Annotated[float, Field(gt=0)]] = Field(
        [0.05, 0.1, 0.2, 0.5, 1.0],
        description="Enhancing tumour smaller than this in total may become necrotic core, as in Isensee et al. 2021; ml.",
    )


class TrainedModel(Block):
    """A model that nnU-Net trains."""

    cohort: str = Field(description="The cohort it is trained on.")
    channels: list[Channel] = Field(["t1", "t1ce", "t2", "flair"], min_length=1, description="Input channels, in this order.")
    regions: list[Region] = Field(
        ["WT", "TC", "ET"], min_length=1, description="Regions the network predicts, from the largest to the smallest."
    )
    configuration: Literal["2d", "3d_fullres"] = Field("3d_fullres", description="nnU-Net configuration.")
    network: Network = Field(
        "plain",
        description="`plain` and `resenc_m`, `resenc_l` as nnU-Net plans them, `attention_resunet` (residual, attention gates "
        "on the skip connections), `equiunet` (Henry et al. 2020).",
    )
    deep_supervision: bool = Field(True, description="Let the loss see the decoder's coarser outputs too.")
    loss: Loss = Field("dice_ce", description="`dice_ce` (nnU-Net's), `soft_dice`, `focal_ce` (focal and cross-entropy).")
    optimiser: Optimiser = Field("sgd", description="`sgd` (nnU-Net's), `adam`, `adamw`, `ranger` (RAdam with Lookahead).")
    schedule: Schedule = Field(
        "poly", description="Learning rate over the epochs: `poly` (nnU-Net's), `cosine` (as in open_brats2020), `constant`."
    )
    weight_decay: float = Field(3e-5, ge=0, description="Weight decay of the optimiser.")
    swa: Swa | None = Field(None, description="Stochastic weight averaging after the epochs. Default: none.")
    trainer: str | None = Field(
        None,
        description="A custom trainer, as `path/to/file.py:Class`, or one of nnU-Net's by name. What the model does not "
        "say (`epochs`, `loss`, `optimiser`, `initial_lr` …) is then that trainer's.",
    )
    folds: int = Field(5, ge=2, description="Folds of the cross-validation; each is trained.")
    folds_by: str | None = Field(
        None,
        description="Covariate whose values are the folds, as in leaving one site out: each fold validates on the patients of "
        "one value. `folds` must then be given, as the number of values. Default: folds are drawn.",
    )
    epochs: int = Field(1000, ge=1, description="Epochs per fold.")
    iterations_per_epoch: int = Field(250, ge=1, description="Training iterations per epoch.")
    validation_iterations: int = Field(50, ge=1, description="Iterations of the pseudo-Dice after each epoch.")
    initial_lr: float = Field(1e-2, gt=0, description="Learning rate at the start of nnU-Net's polynomial schedule.")
    save_every: int | None = Field(
        None,
        ge=1,
        description="Epochs between checkpoints, the most that a killed job loses. Default: about ten minutes' worth.",
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, sampling and augmentation.")
    tta: Tta = Field(
        True,
        description="Mirror the image at prediction and average (test-time augmentation); `both` scores each case with and "
        "without.",
    )
    prediction_folds: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="Folds that predict `test` and external sets. Default: all."
    )
    postprocessing: Postprocessing | None = Field(
        None, description="Clean up the masks by what helps on `cv`. Default: masks stay as predicted."
    )
    plans: Plans = Field(default_factory=lambda: Plans(), description="Overrides of nnU-Net's plans.")
    external: list[str] = Field([], description="Further cohorts to predict with all folds; each becomes a set of that name.")
    threads: int = Field(
        12, ge=1, description="CPU cores for each fold that is trained. With 1 and no GPU, training is repeatable bit by bit."
    )
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="`auto` takes a GPU where there is one. `cpu` also asks Slurm for none. A CPU with instructions for "
        "bfloat16 (AVX-512 BF16, AMX) trains in mixed precision, as nnU-Net does on a GPU; it predicts in float32.",
    )
    retrain_on_upgrade: bool = Field(
        False,
        description="Train a fold again where glioflow's trainer, nnU-Net or torch is known to differ from what it was trained "
        "with. Default: the fold is kept, and the report shows it.",
    )


class GivenModel(Block):
    """Masks that exist already, from any tool: they are scored, not trained."""

    cohort: str = Field(description="The cohort whose cases were segmented.")
    predictions: str = Field(description="Where the masks are; `{case}` stands for the case's id.")
    label_scheme: str = Field(description="A key of `config/label_schemes.yaml`: what the masks' values mean.")
    on_geometry_mismatch: OnMismatch = Field(
        "error",
        description="Where a mask's header disagrees with its image: stop, or take its voxels by index and the image's header. "
        "Where the cohort's `grid` changed the images, a mask follows by its header in either case.",
    )
    regions: list[Region] | None = Field(
        None, description="Regions the model was made to see; others are reported as not applicable. Default: all."
    )


class ImportedModel(Block):
    """A model that somebody trained and exported: it predicts, and is not trained."""

    archive: str = Field(description="The zip that `export_model` wrote, or nnU-Net's own `nnUNetv2_export_model_to_zip`.")
    cohort: str = Field(description="The cohort to predict; it becomes a set of that name.")
    external: list[str] = Field([], description="Further cohorts to predict; each becomes a set of that name.")
    tta: Tta = Field(True, description="As of a trained model.")
    prediction_folds: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="Folds that predict. Default: all in the archive."
    )
    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="As of a trained model.")
    channels: list[Channel] | None = Field(
        None, description="Of nnU-Net's zip: what its channels are, in their order. Default: what its dataset.json calls them."
    )
    regions: list[Region] | None = Field(
        None, description="Of nnU-Net's zip: what its labels are, in their order. Default: what its dataset.json calls them."
    )
    label_scheme: str | None = Field(
        None, description="Of nnU-Net's zip, instead of `regions`: a key of `config/label_schemes.yaml`, what its values mean."
    )
    configuration: Literal["2d", "3d_fullres"] | None = Field(
        None, description="Of nnU-Net's zip: the configuration that predicts. Default: the only one in it."
    )
    trainer: str | None = Field(
        None,
        description="Of nnU-Net's zip whose trainer is none of nnU-Net's: the one of nnU-Net's whose network it has. Its own "
        "code is not run.",
    )


def _model_kind(value: Any) -> str:
    has = value.__contains__ if isinstance(value, Mapping) else lambda key: hasattr(value, key)
    return "given" if has("predictions") else "imported" if has("archive") else "trained"


AnyModel = Annotated[
    Annotated[TrainedModel, Tag("trained")] | Annotated[GivenModel, Tag("given")] | Annotated[ImportedModel, Tag("imported")],
    Discriminator(_model_kind),
]


class Ensemble(Block):
    """Trained models of one cohort combined, then regions taken from one member each."""

    members: list[str] = Field(min_length=2, description="Trained models of one cohort with the same regions and folds.")
    method: Literal["mean", "vote", "staple"] = Field(
        "mean",
        description="`mean` of the probabilities, majority `vote` of the masks, or `staple` (Rohlfing et al. 2004, "
        "SimpleITK's).",
    )
    merge: dict[Region, str] = Field(
        {},
        description="Regions taken from one member instead, as `{TC: a, ED: b}`: the core of a over the oedema of b. An "
        "earlier region is never overwritten by a later one.",
    )
    postprocessing: Postprocessing | None = Field(None, description="As of a trained model.")


class Evaluation(Block):
    """What is scored."""

    regions: list[Region] = Field(["WT", "TC", "ET"], min_length=1, description="Regions to score.")
    convention: str = Field(
        "glioflow", description="What the metrics' names mean: a file of `config/conventions` (`glioflow`, `medpy` …)."
    )
    lesionwise: str | None = Field(
        None,
        description="Also score lesion by lesion, after the lesions of a file of `config/conventions` (`brats2023_gli` …).",
    )
    reproduce_defects: bool = Field(
        False,
        description="Also compute what is known to be wrong in the script of `lesionwise`, in columns of its own.",
    )
    on_missing: Literal["error", "count_as_empty"] = Field(
        "error",
        description="Where masks are given for a model and one is missing: stop, or score the case as if its mask were empty.",
    )
    group_by: list[str] = Field([], description="Covariates by whose values the scores are summarised too, such as `grade`.")


class Failure(Block):
    """Which cases fail, and what sets them apart."""

    rank_by: RankingMetric = Field("hausdorff", description="Column of the score table that ranks the cases.")
    region: Region = Field("WT", description="Region whose score ranks the cases and whose mask the features come from.")
    extremes: int = Field(
        20, ge=1, description="How many worst and how many best cases to compare; fewer where the set has no more."
    )
    penalised: Literal["apart", "include"] = Field(
        "apart",
        description="Cases in which the truth or the prediction lacks the region, so that the metric is a penalty or a rule's "
        "value: list them apart from those that are ranked, or rank them too.",
    )
    cases: Literal["all", "extremes"] = Field(
        "all",
        description="Cases to compute features of: `all` of the set, which associations are found in, or the `extremes` alone, "
        "which allow a description and no finding.",
    )
    image: Annotated[
        Annotated[Channel, Tag("one")] | Annotated[list[Channel], Field(min_length=1), Tag("several")],
        Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
    ] = Field(
        "flair",
        description="Channel that the features are of and the pictures show, or a list of channels: features are then computed "
        "of each, and pictures show the first.",
    )
    mask: Literal["truth", "prediction"] = Field("truth", description="Whose mask the features are computed in.")
    feature_regions: list[Region] | None = Field(
        None,
        min_length=1,
        description="Regions of `evaluation.regions` whose features are computed. Default: `region`.",
    )
    radiomics: str | None = Field(
        None,
        description="Instead of `bin_width` and `normalise`: a parameter file of pyradiomics (imageType, featureClass, "
        "setting). Default: the original image, all classes.",
    )
    sets: list[str] | None = Field(
        None,
        description="Sets to analyse. Default: `cv` of trained models and ensembles, `given` of precomputed predictions, the "
        "own cohort of imported models.",
    )
    bin_width: float = Field(25.0, gt=0, description="Grey-level bin width of the texture features, after normalisation.")
    normalise: bool = Field(True, description="z-score each image (mean 0, standard deviation 100) before the features.")
    stability: bool = Field(
        False,
        description="Also compute the features in the mask eroded and dilated by a voxel and with noise added, and say of each "
        "whether it is stable (`stability.csv`). Takes four times as long as the features.",
    )
    binning: bool = Field(
        False,
        description="Also compute the features with half and twice the bin width and with the other normalisation, and say how "
        "far the cases keep their order (`binning.csv`). Takes six times as long as the features.",
    )

    @property
    def images(self) -> list[Channel]:
        """The channels that features are computed of; pictures show the first."""
        return self.image if isinstance(self.image, list) else [self.image]

    @property
    def featured_regions(self) -> list[Region]:
        """The regions whose features are computed."""
        return self.feature_regions or [self.region]


class Quality(Block):
    """Volumes, volumes over time, shape, and the quality of masks without their truth."""

    sets: list[str] | None = Field(
        None, description="Sets whose masks are measured, such as `[cv, test]`; `[]` for none. Default: all."
    )
    session_by: str | None = Field(
        None,
        description="Covariate that orders a patient's sessions: a number (days, weeks) or a date (`2021-03-05`). Default, and "
        "where it is missing: the order of the case ids.",
    )
    follow: list[Region] = Field(
        ["ET", "WT"], description="Regions whose volume is followed over a patient's sessions; `[]` for none."
    )
    response_increase: float = Field(
        0.40,
        gt=0,
        description="Increase of volume over the smallest so far, as a fraction, that is called progression (modified RANO).",
    )
    response_decrease: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="Decrease of volume from the first session, as a fraction, that is called partial response (same).",
    )
    measurable_ml: float = Field(
        1.0,
        ge=0,
        description="Volumes below this are not measurable: such a baseline allows no partial response, such a session is no "
        "progression; ml. Default: a cube of 10 mm, RANO's smallest diameter.",
    )
    shape: Region | None = Field("WT", description="Region whose shape is measured; `null` for none.")


def _failure_block(value: Any) -> Any:
    """Return the block that ``off`` stands for, which YAML reads as false: an analysis of no set."""
    return {"sets": []} if value is False or value == "off" else value


class Report(Block):
    """The HTML page."""

    title: str = Field("Which cases fail, and why", description="Heading of the report.")
    viewer_cases: list[str] = Field(
        [], description="Ids of cases that the report's viewer shows besides the worst and the best ones."
    )


class Published(Block):
    """A value that somebody published, to be shown beside the study's own."""

    model: str = Field(description="The model or ensemble whose value it is compared with.")
    set: str = Field(description="That model's set: `cv`, `test`, `given`, or the name of an external cohort.")
    metric: str = Field(description="Column of the score table, such as `dice` (a fraction) or `hd95_mm` (mm).")
    region: Region = Field(description="One of `evaluation.regions`.")
    statistic: Literal["mean", "median"] = Field(description="What was published: the mean or the median over the cases.")
    value: float = Field(allow_inf_nan=False, description="The published value in the metric's own unit: Dice 82 % is 0.82.")
    measured_on: Literal["cv", "test"] | None = Field(
        None,
        description="What the published value is of: out-of-fold predictions of training cases (`cv`), or a `test` set. Where "
        "the study's own set is of another kind, the report says so.",
    )
    source: str = Field(min_length=1, description="Where it was published: a DOI, an arXiv number, an address.")
    differs: str | None = Field(None, description="What else differs in data or definition, in words for the reader.")


class Author(Block):
    """A person who is named as an author of a bundle."""

    name: str = Field(min_length=1, description="Given name, family name.")
    orcid: str | None = Field(None, pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$", description="ORCID, as 0000-0002-1825-0097.")
    affiliation: str | None = Field(None, description="Where the person works.")


class Bundle(Block):
    """The study as one file."""

    name: Name = Field(description="First part of the file's name.")
    version: str = Field("1.0.0", pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]*$", description="Second part of the file's name.")
    licence: str = Field(min_length=1, description="Under which the bundle is shared: an SPDX id, as CC-BY-4.0, or an address.")
    title: str | None = Field(None, description="Default: the report's.")
    description: str | None = Field(None, description="What the study is, for who finds it. Default: made of the title.")
    authors: list[Author] = Field([], description="Who made the study.")
    covariates: list[str] = Field([], description="Covariates that go along. Default: none.")
    models: bool = Field(True, description="Put in the trained models, as `exports` packs them.")
    predictions: bool = Field(False, description="Put in the masks, their headers without free text.")
    pictures: bool = Field(False, description="Put in the slices of cases that the report shows.")
    images: bool = Field(False, description="Put in images and labels, their headers without free text.")
    logs: bool = Field(True, description="Put in logs and benchmarks.")
    pseudonymise: bool = Field(False, description="Write keyed pseudonyms for the ids of cases and patients, and shift dates.")
    pseudonym_key: str | None = Field(
        None, description="File with the key of the pseudonyms, which never goes along; it is made where there is none."
    )


class Study(Block):
    """A study: one configuration file."""

    results: str = Field("results", description="Folder that everything is written to.")
    data: str | None = Field(
        None,
        description="Folder that data sets are fetched into, shared by all studies. Default: `$GLIOFLOW_DATA`, else "
        "`~/.cache/glioflow`.",
    )
    verify: Literal["changed", "full"] = Field(
        "changed",
        description="Which images are read again to be checked: those whose file changed, or all, as by `--config verify=full` "
        "after a copy or on a disk that may be damaged.",
    )
    largest_image_gb: float = Field(
        2.0, gt=0, description="An image that is larger, unpacked, is refused before it fills the memory; GB."
    )
    cohorts: dict[Name, AnyCohort] = Field(min_length=1, description="Cohorts by name.")
    models: dict[Name, AnyModel] = Field({}, description="Models by name.")
    ensembles: dict[Name, Ensemble] = Field({}, description="Ensembles by name; they are scored like models.")
    evaluation: Evaluation = Field(default_factory=lambda: Evaluation(), description="What is scored.")
    failure: Annotated[Failure, BeforeValidator(_failure_block, json_schema_input_type=Failure | Literal[False])] = Field(
        default_factory=lambda: Failure(), description="Failure analysis; `off` for none."
    )
    quality: Quality = Field(
        default_factory=lambda: Quality(), description="Volumes, volumes over time, shape, and quality without truth."
    )
    report: Report = Field(default_factory=lambda: Report(), description="The report.")
    published: list[Published] = Field([], description="Published values to show beside the study's own.")
    bundle: Bundle | None = Field(None, description="The study as one file. Default: none is made.")

    def cohort_of(self, model: str) -> str:
        """Return the name of the cohort of a model or an ensemble."""
        first = model if model in self.models else self.ensembles[model].members[0]
        return self.models[first].cohort

    def trained(self) -> dict[str, TrainedModel]:
        """Return the models that nnU-Net trains."""
        return {name: model for name, model in self.models.items() if isinstance(model, TrainedModel)}

    def given(self) -> dict[str, GivenModel]:
        """Return the models whose masks exist already."""
        return {name: model for name, model in self.models.items() if isinstance(model, GivenModel)}

    def predicting(self) -> dict[str, TrainedModel | ImportedModel]:
        """Return the models whose networks predict: trained and imported ones."""
        return {name: model for name, model in self.models.items() if not isinstance(model, GivenModel)}

    def sets_of(self, model: str) -> list[str]:
        """Return the prediction sets of a model or an ensemble: `cv`, `test`, `given`, external cohorts."""
        if model not in self.models:
            members = [self.sets_of(member) for member in self.ensembles[model].members]
            return [name for name in members[0] if all(name in sets for sets in members)]
        spec = self.models[model]
        if isinstance(spec, GivenModel):
            return ["given"]
        if isinstance(spec, ImportedModel):
            return [spec.cohort, *spec.external]
        held_out = ["test"] if holds_out(self.cohorts[spec.cohort]) else []
        return ["cv", *held_out, *spec.external]

    def scored_sets_of(self, model: str) -> list[str]:
        """Return the sets of a model whose cases have a truth."""
        unlabelled = {name for name, cohort in self.cohorts.items() if not is_labelled(cohort)}
        return [name for name in self.sets_of(model) if self.cohort_of_set(model, name) not in unlabelled]

    def failure_sets_of(self, model: str) -> list[str]:
        """Return the sets of a model whose failures are analysed."""
        sets = self.scored_sets_of(model)
        spec = self.models.get(model)
        own = [spec.cohort] if isinstance(spec, ImportedModel) else []
        wanted = ["cv", "given", *own] if self.failure.sets is None else self.failure.sets
        return [name for name in sets if name in wanted]

    def quality_sets_of(self, model: str) -> list[str]:
        """Return the sets of a model whose volumes and shapes are measured."""
        wanted = self.quality.sets
        return [name for name in self.scored_sets_of(model) if wanted is None or name in wanted]

    def cohort_of_set(self, model: str, set_name: str) -> str:
        """Return the cohort that the cases of a model's set belong to."""
        return self.cohort_of(model) if set_name in RESERVED_SETS else set_name


def is_labelled(cohort: AnyCohort) -> bool:
    """Tell whether the cases of a cohort have truth masks, so that their predictions are scored."""
    return cohort.labelled


def expand_path(path: str) -> str:
    """Return ``path`` with ``~`` and environment variables filled in. Raises ValueError where a variable is not set."""
    full = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 - a pattern, not a path
    if unset := re.findall(r"\$(?:\{(\w+)\}|(\w+))", full):
        name = "".join(unset[0])
        raise ValueError(f"the environment variable {name} is not set; set it, or write the folder itself instead of ${name}")
    return full


def data_folder(key: str, data: str | None) -> Path:
    """Return the folder that a data set is fetched into: ``<data>/<key>-<version>``."""
    root = data or os.environ.get(DATA_VARIABLE) or "~/.cache/glioflow"
    return Path(expand_path(root)) / f"{key}-{datasets()[key].version}"


def holds_out(cohort: AnyCohort) -> bool:
    """Tell whether a cohort has a ``test`` set; the folds of nnU-Net's splits_final.json leave none."""
    if cohort.split is None or cohort.split.endswith(".json"):
        return cohort.test_fraction > 0 or cohort.test_size is not None or bool(cohort.test_cases)
    try:
        path = Path(expand_path(cohort.split))
        return _names_test_cases(path, path.stat().st_mtime_ns)
    except (UserError, OSError, ValueError):  # checking the configuration, or the cohort, says what is wrong with it
        return False


@cache
def _names_test_cases(path: Path, changed_ns: int) -> bool:
    """Tell whether a split file holds cases out; read once for each time that it was changed, as planning asks often."""
    return any(row.get("set") == "test" for row in read_user_table(path).rows)


def cohort_dataset(cohort: AnyCohort) -> Dataset:
    """Return the entry of a cohort's data set, with what the cohort says otherwise: files, scheme, patients, options."""
    if cohort.dataset in OWN_LAYOUTS:
        layout = "patterns" if cohort.dataset == "folders" else cohort.dataset
        own = {"title": cohort.dataset, "version": "", "source": "", "access": "own", "licence": "", "citation": ""}
        entry = Dataset.model_validate({**own, "layout": layout})
    else:
        entry = datasets()[cohort.dataset]
    names = ("files", "label_scheme", "patient_id", "skull_stripped")
    said = {name: value for name in names if (value := getattr(cohort, name, None)) is not None}
    options = {name: value for name in ("filters", "spacing_mm") if (value := getattr(cohort, name, None)) is not None}
    entry = entry.model_copy(update={**said, "options": {**entry.options, **options}})
    if is_labelled(cohort):
        return entry
    files = entry.files and {role: patterns for role, patterns in entry.files.items() if role != "label"}
    return entry.model_copy(update={"files": files, "labelled_in_part": False})


def cohort_channels(cohort: AnyCohort) -> list[str] | None:
    """Return the channels a cohort has, or None where only its files or its table can tell."""
    if cohort.dataset in ("table", "bids"):
        return None
    entry = cohort_dataset(cohort)
    return [channel for channel in entry.channels if entry.files is None or channel in entry.files]


def substitutes(cohort: AnyCohort) -> dict[str, str]:
    """Return what takes the place of each channel of a cohort where it is missing: another channel, or ``ZEROS``."""
    return {} if isinstance(cohort, PhantomCohort) else {str(channel): other for channel, other in cohort.substitute.items()}


def largest_extremes(n_cases: int) -> int:
    """Return how many worst and as many best cases ``n_cases`` can give without any case being both."""
    return n_cases // 2
