"""The page shows what the tables say, loads nothing, and has a sentence for whatever a study does not have."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import write_report
from classify_failures import confusion_table
from compare_conventions import compare_ranks, rank_table
from compare_covariates import compare_covariates
from compare_models import compare_groups, compared_metrics, rank_groups
from draw_associations import draw_associations
from glioflow.cohorts.covariate_values import read_covariates
from glioflow.cohorts.problems import EXCLUDED, PROBLEM_COLUMNS, problem_row
from glioflow.cohorts.splits import SplitPlan, split_cases
from glioflow.console import Console, UserError
from glioflow.evaluation.comparison_groups import comparison_groups
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import lesion_columns
from glioflow.evaluation.metrics import NOT_APPLICABLE, NOTE_BOTH_EMPTY, NOTE_PREDICTION_EMPTY, PENALTY, metric_columns
from glioflow.evaluation.score_tables import ranked_apart, read_scores
from glioflow.evaluation.scoring import Plan
from glioflow.evaluation.witnesses import POINT_COLUMNS
from glioflow.failure.associations import associate
from glioflow.failure.failure_types import COLUMNS as FAILURE_COLUMNS
from glioflow.failure.failure_types import KINDS
from glioflow.files import read_json, read_table, write_json, write_table
from glioflow.formatting import number, significant
from glioflow.models.nnunet.keys import training_code
from glioflow.report import cases, claims, scores
from glioflow.report import covariates as covariate_report
from glioflow.report import problems as problem_report
from glioflow.report.claims import probability, representatives
from glioflow.report.cohorts import ACCESS_WORDS, cohort_facts, parts_of, split_words
from glioflow.report.covariates import covariate_table
from glioflow.report.definitions import definition_words
from glioflow.report.figures import axis_top, draw_scores, sideways
from glioflow.report.plotting import new_figure, save_figure
from glioflow.report.provenance import versions_table
from glioflow.report.source import Pair, Source, records, summaries_of
from glioflow.report.summary import summary_section
from glioflow.report.tables import Cell, Table, join_words, row_groups, without_empty
from glioflow.report.training import model_facts
from glioflow.study.registry import datasets
from glioflow.workflow.checks import load_study
from glioflow.workflow.sets import unscored_sets
from select_extremes import apart_table, rank_cases, select_extremes
from summarise_jobs import COLUMNS as JOB_COLUMNS
from summarise_scores import summarise, summarise_groups

CONVENTION = conventions()["glioflow"]
COLUMNS = Plan(["WT"], CONVENTION).columns
METRICS, LESION_COLUMNS = metric_columns(CONVENTION), lesion_columns(CONVENTION)
CASES = [f"case_{number:02d}" for number in range(12)]
REGIONS = ["WT", "TC", "ET"]
CONFIG: dict[str, Any] = {
    "cohorts": {"demo": {"dataset": "phantom", "cases": 12, "test_fraction": 0.25, "planted": {"low_contrast": 2}}},
    "models": {"net": {"cohort": "demo", "folds": 2, "epochs": 3, "plans": {"patch_size": [48, 48, 48]}, "tta": False}},
    "failure": {"extremes": 3},
    "quality": {"sets": []},
}
EXTERNAL: dict[str, Any] = {
    **CONFIG,
    "cohorts": {**CONFIG["cohorts"], "other": {"dataset": "phantom", "cases": 12, "external": True}},
    "models": {"net": {**CONFIG["models"]["net"], "external": ["other"]}},
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a reader finds in a page: text, tables by caption, attributes of every element; and whether its tags fit."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self.values: dict[str, list[list[str]]] = {}
        self.caption: str | None = None
        self.data: list[dict[str, Any]] = []  # that the page's script reads
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self.caption = ""
        if tag == "tr" and self.caption is not None:
            self.tables.setdefault(self.caption, []).append([])
            self.values.setdefault(self.caption, []).append([])
        if tag in ("td", "th") and self.caption is not None:
            self.tables[self.caption][-1].append("")
            self.values[self.caption][-1].append(given.get("data-value", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.caption = None

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            if self.elements[-1] == ("script", {"type": "application/json"}):
                self.data.append(json.loads(data))
            return
        self.text += data
        if "caption" in self.open:
            assert self.caption is not None
            self.caption += data
        elif {"td", "th"} & set(self.open) and self.caption is not None:
            self.tables[self.caption][-1][-1] += data

    def table(self, caption: str) -> list[list[str]]:
        """Return the rows, header first, of the one table whose caption begins so."""
        (found,) = [rows for name, rows in self.tables.items() if name.startswith(caption)]
        return found

    def attributes(self, name: str) -> list[str]:
        return [given[name] for _, given in self.elements if name in given]


class Workspace:
    """A results folder with the tables of a small study, and the job that writes its report."""

    def __init__(self, root: Path, config: Mapping[str, Any] = CONFIG) -> None:
        self.root = root
        self.study = load_study(config, "study.yaml")
        models = [*self.study.models, *self.study.ensembles]
        self.pairs = [
            {
                "model": model,
                "set": name,
                "cohort": self.study.cohort_of_set(model, name),
                "failure": name in self.study.failure_sets_of(model),
            }
            for model in models
            for name in self.study.scored_sets_of(model)
        ]
        for name in self.study.cohorts:
            self.write_cohort(name)
        for name, model in self.study.trained().items():
            for fold in range(model.folds):
                self.write_fold(name, fold)
        for pair in self.pairs:
            self.write_scores(pair)
            if pair["failure"]:
                self.write_failure(pair)
            self.write_conventions(pair)
        self.write_comparison()
        self.write_jobs()

    def write_jobs(self) -> None:
        """Write what three rules took, as the workflow does."""
        rows = [
            ("split_cohort", 1, 3.4, 3.4, 120.0, 1, ""),
            ("train_fold", 2, 7300.0, 3700.0, 6144.0, 2, "split_cohort"),
            ("score_cases", 1, 8.0, 8.0, np.nan, 0, "split_cohort train_fold"),
        ]
        write_table(self.root / "report" / "jobs.csv", pd.DataFrame(rows, columns=list(JOB_COLUMNS)))

    def write_cohort(self, name: str) -> None:
        rng = np.random.default_rng(1)
        folder, cohort = self.root / "cohorts" / name, self.study.cohorts[name]
        parts = pd.DataFrame(rng.uniform(1, 30, (len(CASES), 3)), columns=["ET", "NCR", "ED"])
        parts.loc[0, "ET"] = 0.0
        volumes = parts.assign(WT=parts.sum(axis=1), TC=parts["ET"] + parts["NCR"], RC=0.0)
        manifest = pd.DataFrame({"case_id": CASES, "patient_id": CASES, "flair": "flair.nii.gz"})
        manifest = manifest.assign(shape="80x96x80", spacing_mm="2x2x2", orientation="LPS", brain_ml=[1200.4, *[1400.6] * 11])
        manifest = manifest.join(volumes.add_prefix("volume_").add_suffix("_ml"))
        sites = ["01", "02", "01", None] * 3
        manifest = manifest.assign(age_years=[40.0, 50, 60, 70] * 3, site=sites, scanner="Aera", trial_id=range(12))
        folds = sorted({model.folds for model in self.study.trained().values()})
        write_table(folder / "manifest.csv", manifest)
        write_table(folder / "split.csv", split_cases(manifest, SplitPlan(test_fraction=cohort.test_fraction, folds=folds)))
        for table in ("verification", "comparison"):
            write_table(folder / f"{table}.csv", pd.DataFrame(columns=PROBLEM_COLUMNS))
        planted = ["low_contrast" if case in CASES[:2] else "" for case in CASES]
        write_table(folder / "phantom.csv", pd.DataFrame({"case_id": CASES, "planted": planted}))

    def write_fold(self, model: str, fold: int) -> None:
        folder = self.root / "models" / model / f"fold_{fold}"
        curves = {"epoch": range(3), "train_loss": [-0.1, -0.3, -0.5], "val_loss": [-0.1, -0.2, -0.41 - fold / 10]}
        dice = {f"pseudo_dice_{region}": [0.1, 0.5, 0.8] for region in REGIONS}
        write_table(folder / "curves.csv", pd.DataFrame({**curves, **dice, "learning_rate": 0.01, "seconds": 4.0}))
        manifest = {
            "fold": fold,
            "parts": {"cases": {case: [] for case in CASES[:5]}},
            "validation": {"cases": CASES[5:9]},
            "checkpoint": {"path": f"../nnunet/fold_{fold}/checkpoint_final.pth", "sha256": f"{fold}" * 64},
            "finished_at": f"2024-05-0{fold + 3}T10:00:00+00:00",
            "epochs": 3,
            "seconds_per_epoch": 4.0,
            "device": "cpu",
            "versions": {"python": "3.11.2", "nnunetv2": "2.8.1"},
        }
        write_json(folder / "manifest.json", manifest)

    def write_scores(self, pair: Mapping[str, Any]) -> None:
        rng = np.random.default_rng(2)
        split = read_table(self.root / "cohorts" / pair["cohort"] / "split.csv")
        wanted = {"cv": ["train"], "test": ["test"]}.get(pair["set"], ["train", "test"])
        rows = []
        for index, case in enumerate(split.loc[split["set"].isin(wanted), "case_id"]):
            for region in REGIONS:
                row = {"case_id": case, "patient_id": case, "label": region, "tta": False, **dict.fromkeys(METRICS, np.nan)}
                if (index, region) == (0, "ET"):
                    row |= {"spec": 1.0, "volume_truth_ml": 0.0, "volume_prediction_ml": 0.0, "note": NOTE_BOTH_EMPTY}
                    row |= {"components_prediction": 0}
                elif (index, region) == (1, "ET"):
                    row |= {"dice": 0.0, "iou": 0.0, "sens": 0.0, "spec": 1.0, "hausdorff": 300.0, "hd95_mm": 300.0}
                    row |= {
                        "assd_mm": 300.0,
                        "volume_truth_ml": 2.0,
                        "volume_prediction_ml": 0.0,
                        "note": NOTE_PREDICTION_EMPTY,
                    }
                else:
                    row |= {metric: rng.uniform(0.5, 1) for metric in METRICS}
                    row |= {metric: rng.uniform(2, 60) for metric in ("hausdorff", "hd95_mm", "assd_mm")}
                rows.append(row)
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        self.put_scores(pair, table)

    def put_scores(self, pair: Mapping[str, Any], table: pd.DataFrame, group_by: Sequence[str] = ()) -> None:
        """Write a score table with its summaries, as the workflow does."""
        folder = self.root / "scores" / pair["model"]
        write_table(folder / f"{pair['set']}.csv", table)
        table = read_table(folder / f"{pair['set']}.csv")
        write_table(folder / f"{pair['set']}_summary.csv", summarise(table))
        covariates = read_covariates(self.root / "cohorts" / pair["cohort"] / "manifest.csv")
        write_table(folder / f"{pair['set']}_groups.csv", summarise_groups(table, covariates, group_by))
        write_table(folder / f"{pair['set']}_warnings.csv", pd.DataFrame(columns=PROBLEM_COLUMNS))
        if pair["set"] == "given":
            given = self.root / "predictions" / pair["model"] / "given"
            write_table(given / "warnings.csv", pd.DataFrame(columns=PROBLEM_COLUMNS))

    def change_scores(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], group_by: Sequence[str] = ()) -> None:
        """Change the score table of a set of the model ``net``."""
        (pair,) = [pair for pair in self.pairs if (pair["model"], pair["set"]) == ("net", name)]
        self.put_scores(pair, change(self.table("scores", "net", f"{name}.csv")), group_by)

    def write_failure(self, pair: Mapping[str, Any]) -> None:
        spec = self.study.failure
        folder = self.root / "failure" / pair["model"] / pair["set"]
        source = self.root / "scores" / pair["model"] / f"{pair['set']}.csv"
        scores = read_scores(source, spec.region, (spec.rank_by, "dice"))
        ranked = rank_cases(ranked_apart(scores, spec.penalised)[0], spec.rank_by)
        extremes = select_extremes(ranked, spec.rank_by, spec.region, spec.extremes)
        write_table(folder / "apart.csv", apart_table(scores, ranked, spec.rank_by, spec.region))
        cases = ranked[["case_id", "patient_id"]].assign(image=spec.image, mask=spec.mask, region=spec.region, grey_levels=12)
        values = np.random.default_rng(3).normal(size=(len(ranked), 25))
        values[:, 4] = -np.arange(len(ranked))  # the worst case has the largest
        features = pd.DataFrame(values, columns=[f"original_firstorder_Feature{number:02d}" for number in range(25)])
        features["original_shape_Constant"] = 1.0
        radiomics = pd.concat([cases.reset_index(drop=True), features], axis=1).assign(note=pd.NA)
        volumes = read_scores(source, spec.region, ("volume_truth_ml",)).set_index("case_id")["volume_truth_ml"]
        metric = ranked.rename(columns={spec.rank_by: "value"})[["case_id", "patient_id", "value"]]
        associations = associate(radiomics, metric, {spec.region: volumes}, extremes, complete=True)
        write_table(folder / "extremes.csv", extremes)
        self.write_failure_types(folder, read_table(source), extremes)
        write_table(folder / "radiomics.csv", radiomics)
        write_table(folder / "associations.csv", associations)
        self.write_covariates(pair)
        save_figure(draw_associations(associations, "features"), folder / "associations.png", dpi=40)
        names = [f"overlays/{case}.png" for case in extremes["case_id"]]
        for name in names:
            save_figure(new_figure(0.2, 0.2), folder / name)
        write_table(folder / "overlays.csv", extremes.assign(picture=names, witness_slice=31, error_slice=40))
        told = extremes[["group", "rank", "case_id", "label"]].assign(
            convention="glioflow", units="mm", length_mm=12.34, note=pd.NA
        )
        points = {column: float(place) for place, column in enumerate(POINT_COLUMNS)}
        write_table(
            folder / "witnesses.csv", told.assign(distance=12.34, length_mm=12.34, measured_from="prediction", **points)
        )

        volumes = extremes[["group", "rank", "case_id"]].assign(path=[f"{number:02d}.js" for number in range(len(extremes))])
        place = self.root / "report" / "viewer" / pair["model"] / pair["set"]
        write_table(place / "volumes.csv", volumes.assign(bytes=1))
        (place / "00.js").write_text("")

    def write_failure_types(self, folder: Path, scores: pd.DataFrame, extremes: pd.DataFrame) -> None:
        """Write kinds of errors, of which a false island is the farthest in every case and sets the worst cases' distance."""
        types = scores[["patient_id", "case_id", "label", "dice"]].reindex(columns=list(FAILURE_COLUMNS))
        types["note"] = scores["note"].str.removeprefix(f"{PENALTY}: ")
        both = types["note"].notna() & (types["note"] == NOTE_BOTH_EMPTY)
        for kind in KINDS:
            types[[f"n_{kind}", f"ml_{kind}", f"gain_{kind}", f"share_{kind}"]] = 0
        types = types.assign(n_over=40, ml_over=0.04, gain_over=1 - types["dice"], share_over=1 - types["dice"])
        types = types.assign(
            dominant="over", farthest_kind="false_lesion", farthest_ml=0.008, false_lesions=3, missed_lesions=0
        )
        values = extremes.set_index(["case_id", "label"])["value"]
        keys = zip(types["case_id"], types["label"], strict=True)
        types["farthest_mm"] = [values.get(key, 12.0) for key in keys]
        found = ["n_over", "ml_over", "gain_over", "share_over", "dominant", "farthest_kind", "farthest_ml", "farthest_mm"]
        types.loc[both, found] = [0, 0.0, 0.0, 0.0, None, None, np.nan, np.nan]
        write_table(folder / "failure_types.csv", types)
        ml = np.diag([900.0, 20, 30, 10, 0])
        ml[3, 2], ml[0, 1] = 2.5, 1.25
        write_table(folder / "confusion.csv", confusion_table(ml))

    def write_conventions(self, pair: Mapping[str, Any]) -> None:
        """Write the set's scores as they are under the default convention, and others for another: the order is turned."""
        folder = self.root / "scores" / pair["model"]
        scores = self.table("scores", pair["model"], f"{pair['set']}.csv")
        turned = scores.assign(hausdorff=60 - scores["hausdorff"], dice=1 - scores["dice"])
        known = {"glioflow": scores, "open_brats2020": turned}
        table = pd.concat([rows.assign(convention=name) for name, rows in known.items()], ignore_index=True)
        ranked = rank_table(table, conventions())
        ranks = compare_ranks(ranked, conventions(), "glioflow", self.study.failure.extremes)
        write_table(folder / f"{pair['set']}_conventions.csv", ranked)
        write_table(folder / f"{pair['set']}_convention_ranks.csv", ranks)

    def write_comparison(self) -> None:
        """Write the tables of the models that share their cases, as the workflow does."""
        groups = comparison_groups(self.study)
        sets = {f"{model}/{name}" for group in groups for model, name in group.models.items()}
        tables = {name: self.table("scores", f"{name}.csv") for name in sorted(sets)}
        metrics = compared_metrics(tables.values())
        write_table(self.root / "scores" / "comparison.csv", compare_groups(groups, tables, metrics))
        write_table(self.root / "scores" / "ranks.csv", rank_groups(groups, tables, metrics))

    def write_covariates(self, pair: Mapping[str, Any]) -> None:
        spec, folder = self.study.failure, self.root / "failure" / pair["model"] / pair["set"]
        scores = read_scores(self.root / "scores" / pair["model"] / f"{pair['set']}.csv", spec.region, (spec.rank_by,))
        covariates = read_covariates(self.root / "cohorts" / pair["cohort"] / "manifest.csv")
        by_case = scores.set_index("case_id")
        extremes = read_table(folder / "extremes.csv")
        table = compare_covariates(covariates, by_case[spec.rank_by], by_case["patient_id"], extremes)
        write_table(folder / "covariates.csv", table)

    def give_covariates(self, **covariates: Mapping[str, object]) -> None:
        """Replace the cohort's covariates by others, each a value by case."""
        known = ["age_years", "site", "scanner", "trial_id"]
        self.edit(
            lambda t: t.drop(columns=[*known, *covariates], errors="ignore").assign(
                **{name: t["case_id"].map(values) for name, values in covariates.items()}
            ),
            *("cohorts", "demo", "manifest.csv"),
        )
        for pair in self.pairs:
            if pair["failure"]:
                self.write_covariates(pair)

    def ranked(self) -> list[str]:
        """Return the cases of the analysed set, the worst first."""
        spec = self.study.failure
        source = self.root / "scores" / "net" / "cv.csv"
        return list(rank_cases(read_scores(source, spec.region, (spec.rank_by, "dice")), spec.rank_by)["case_id"])

    def table(self, *parts: str) -> pd.DataFrame:
        return read_table(self.root.joinpath(*parts))

    def summary(self, name: str) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["label"], row["metric"]): row for row in records(self.table("scores", "net", f"{name}_summary.csv"))}

    def edit(self, change: Callable[[pd.DataFrame], pd.DataFrame], *parts: str) -> None:
        write_table(self.root.joinpath(*parts), change(self.table(*parts)))

    def params(self) -> dict[str, Any]:
        return {
            "study": self.study.model_dump(mode="json"),
            "config_file": "config/study.yaml",
            "results": str(self.root),
            "pairs": self.pairs,
            "trained": {name: model.folds for name, model in self.study.trained().items()},
            "unscored": unscored_sets(self.study),
        }

    def source(self) -> Source:
        return Source(**self.params())

    def html(self) -> str:
        target = self.root / "report" / "index.html"
        output = [str(target), str(target.parent / "viewer" / "niivue.js"), str(target.parent / "references.bib")]
        write_report.main(SimpleNamespace(output=output, params=SimpleNamespace(**self.params())), Console())
        return target.read_text(encoding="utf-8")

    def page(self) -> Page:
        return Page(self.html())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def html(untouched: Workspace) -> str:
    return untouched.html()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def given_study(folder: Path, **failure: Any) -> dict[str, Any]:
    masks = {"cohort": "demo", "predictions": f"{folder}/{{case}}.nii.gz", "label_scheme": "canonical"}
    return {**CONFIG, "models": {"theirs": masks}, "failure": {"extremes": 3, **failure}}


def test_the_headline_has_the_mean_dice_and_the_median_hd95_of_every_set(untouched: Workspace, page: Page) -> None:
    header, *rows = page.table("How well each set")
    assert header[:4] == ["Model", "Set", "Cases", "Dice WT, mean"]
    # The model's name stands once, over both sets.
    assert [row[:-7] for row in rows] == [["net", "cv"], ["test"]]
    for name, row in zip(("cv", "test"), rows, strict=True):
        summary = untouched.summary(name)
        assert row[-6] == f"{summary['WT', 'dice']['mean']:.3f}"
        assert row[-3] == f"{summary['WT', 'hd95_mm']['median']:.2f}"
        fewer = summary["ET", "dice"]
        assert row[-4] == f"{fewer['mean']:.3f} (n = {int(fewer['n'])})"


def test_the_summary_shows_every_number_of_the_summary_table(untouched: Workspace, page: Page) -> None:
    rows = [row[-8:] for row in page.table("Scores of net · cv")[1:]]
    names = {
        "dice": "Dice",
        "sens": "Sensitivity",
        "hd95_mm": "HD95 (mm)",
        "hausdorff": "Hausdorff (mm)",
        "assd_mm": "ASSD (mm)",
    }
    expected = []
    summary = untouched.summary("cv")
    for region in REGIONS:
        for metric, name in names.items():
            line, decimals = summary[region, metric], 3 if metric in ("dice", "sens") else 2
            keys = ("mean", "sd", "mean_ci_low", "mean_ci_high", "median", "q25", "q75", "min", "max")
            mean, sd, least, most, median, q25, q75, low, high = (f"{line[key]:.{decimals}f}" for key in keys)
            counts = [str(int(line["n"])), str(int(line["undefined"])), str(int(line["penalised"])) if decimals == 2 else ""]
            cells = [name, f"{mean} ± {sd}", f"[{least}, {most}]", f"{median} [{q25}, {q75}]", f"{low} to {high}"]
            expected.append([*cells, *counts])
    assert rows == expected


def test_every_case_is_there_rounded_for_the_eye_and_full_for_sorting(untouched: Workspace, page: Page) -> None:
    table = untouched.table("scores", "net", "cv.csv")
    (caption,) = [name for name in page.tables if name.startswith("Every case of net · cv")]
    header, *rows = page.tables[caption]
    place = {name: index for index, name in enumerate(header)}
    assert [(row[0], row[1]) for row in rows] == list(zip(table["case_id"], table["label"], strict=True))
    for column, name, decimals in (("dice", "Dice", 3), ("hausdorff", "Hausdorff (mm)", 2), ("spec", "Specificity", 4)):
        shown = [row[place[name]] for row in rows]
        assert shown == ["–" if pd.isna(value) else f"{value:.{decimals}f}" for value in table[column]]
        full = [row[place[name]] for row in page.data[0]["rows"]]
        assert full == ["–" if pd.isna(value) else value for value in table[column]]
    assert [row[place["Note"]] for row in rows] == table["note"].fillna("").tolist()


def test_a_long_table_of_cases_is_cut_and_says_where_the_rest_is(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "SHOWN_ROWS", 5)
    page = workspace.page()
    assert len(page.table("Every case of net · cv")) == 1 + 5
    assert "The first 5 of 27 rows; all are in scores/net/cv.csv." in page.text


def test_the_metrics_are_defined_by_the_convention_of_the_study(workspace: Workspace, page: Page) -> None:
    ours, theirs = (" ".join(definition_words(conventions()[name])) for name in ("glioflow", "surface_distance"))
    assert f"of the convention glioflow. {ours}" in page.text and theirs not in page.text
    workspace.study = workspace.study.model_copy(
        update={"evaluation": workspace.study.evaluation.model_copy(update={"convention": "surface_distance"})}
    )
    text = workspace.page().text
    assert f"of the convention surface_distance. {theirs}" in text and ours not in text


def test_all_models_and_sets_are_compared_in_one_table(untouched: Workspace, page: Page) -> None:
    header, *rows = page.table("All models and sets")
    assert header[:4] == ["Model", "Set", "Cases", "Dice, WT"]
    assert len(header) == 3 + 3 * len(REGIONS)
    values = page.values[next(caption for caption in page.tables if caption.startswith("All models and sets"))][1:]
    for name, row, full in zip(("cv", "test"), rows, values, strict=True):
        summary = untouched.summary(name)
        dice, distance = summary["TC", "dice"], summary["WT", "hd95_mm"]
        place = {column: index for index, column in enumerate(header)}
        assert row[:2] == ["net", name]
        assert row[place["Dice, TC"]] == f"{dice['mean']:.3f} ({dice['median']:.3f})"
        fewer = summary["ET", "dice"]
        assert row[place["Dice, ET"]] == f"{fewer['mean']:.3f} ({fewer['median']:.3f}), n = {int(fewer['n'])}"
        assert float(full[place["Dice, TC"]]) == dice["mean"]
        assert row[place["Sensitivity, WT"]] == f"{summary['WT', 'sens']['mean']:.3f}"
        assert row[place["HD95 (mm), WT"]] == f"{distance['mean']:.2f} ({distance['median']:.2f})"


def both_tta(table: pd.DataFrame) -> pd.DataFrame:
    """Return a score table with every row twice: with augmentation, and without, where every Dice is 0.25."""
    without = table.assign(tta=False, dice=0.25)
    return pd.concat([without, table.assign(tta=True)]).sort_values("case_id", kind="stable")


def test_scores_with_and_without_tta_stand_beside_each_other(workspace: Workspace) -> None:
    before = workspace.page()
    extremes = before.table("The worst cases of net · cv")
    workspace.change_scores("cv", both_tta)
    page = workspace.page()
    for caption in ("How well each set", "All models and sets"):
        header, *rows = page.table(caption)
        assert header[2] == "TTA"
        assert [row[-len(header) :][2] if len(row) == len(header) else row[1] for row in rows] == ["with", "without", "without"]
        assert rows[1][-len(header) + 4 :][0].startswith("0.250")
    assert [row[-8:-7] for row in page.table("Scores of net · cv")[1:3]] == [["with"], ["without"]]
    assert page.table("Every case of net · cv")[0][:3] == ["Case", "Region", "TTA"]
    assert "With and without test-time augmentation (TTA); the figure shows the scores with it." in page.text
    # The failure analysis ranks the scores with augmentation and shows those.
    assert page.table("The worst cases of net · cv") == extremes


def test_one_kind_of_prediction_has_no_column_of_tta(page: Page) -> None:
    assert not any("TTA" in rows[0] for rows in page.tables.values())


def unseen(table: pd.DataFrame) -> pd.DataFrame:
    """Return a score table of a model that predicts WT alone."""
    other, empty = table["label"] != "WT", [metric for metric in METRICS if metric != "volume_truth_ml"]
    table = table.astype({"note": "object"})
    table.loc[other, empty] = np.nan
    table.loc[other, "note"] = f"{NOT_APPLICABLE}: the model predicts WT only"
    return table


def test_a_region_that_a_model_cannot_show_is_not_applicable_with_the_reason(workspace: Workspace) -> None:
    workspace.change_scores("cv", unseen)
    page = workspace.page()
    reason = "not applicable: the model predicts WT only"
    for caption in ("How well each set", "All models and sets"):
        header, first, *_ = page.table(caption)
        told = [name for name, cell in zip(header, first, strict=True) if cell == "n/a"]
        assert told == [name for name in header if re.search("TC|ET", name)]
    summary = page.table("Scores of net · cv")
    assert [row[:3] for row in summary if "n/a" in row] == [["TC", "all", "n/a"], ["ET", "all", "n/a"]]
    assert f"n/a: TC and ET {reason}." in page.text
    assert f"n/a is net: {reason}." in page.text
    cases = [row for row in page.table("Every case of net · cv") if row[1] == "ET"]
    assert all(row.count("n/a") == 10 and row[-1] == reason for row in cases)
    (alt,) = [alt for alt in page.attributes("alt") if alt.startswith("Dice and Hausdorff distance of net · cv")]
    dice, distance = (workspace.summary("cv")["WT", metric] for metric in ("dice", "hausdorff"))
    words = [f"WT {dice[name]:.3f} and {distance[name]:.1f} mm" for name in ("median", "mean")]
    assert alt.endswith(f"Medians: {words[0]}. Means: {words[1]}.")


def test_a_page_without_such_regions_does_not_speak_of_them(page: Page) -> None:
    assert "n/a" not in page.text


def test_groups_stand_under_the_scores_of_their_set(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.study.evaluation.__dict__["group_by"] = ["site", "idh"]
    workspace.change_scores("cv", lambda table: table, ["site", "idh"])
    page = workspace.page()
    header, *rows = page.table("Scores of net · cv by site")
    assert header[:3] == ["site", "Cases", "Dice, WT"]
    table = workspace.table("scores", "net", "cv.csv")
    sites = read_covariates(tmp_path / "cohorts" / "demo" / "manifest.csv")["site"]
    whole = table[table["label"] == "WT"].set_index("case_id")["dice"]
    groups = sites.reindex(whole.index).fillna("unknown")
    assert [row[:2] for row in rows] == [[site, str((groups == site).sum())] for site in ("01", "02", "unknown")]
    assert [row[2].split()[0] for row in rows] == [f"{whole[groups == site].mean():.3f}" for site in ("01", "02", "unknown")]
    assert "Not divided by idh: the cohort demo has no such covariate." in page.text


def test_missing_channels_are_counted_with_what_took_their_place_and_excluded_cases_have_reasons(workspace: Workspace) -> None:
    assert "lack a channel" not in workspace.page().text
    worst, second = workspace.ranked()[:2]
    marks = {worst: "t1ce=zeros;flair=t2", second: "t1ce=zeros"}
    workspace.edit(lambda t: t.assign(substituted=t["case_id"].map(marks)), "cohorts", "demo", "manifest.csv")
    rows = [
        problem_row("lost", "", "missing_channel", f"no file for channel {channel}", "an image", EXCLUDED)
        for channel in ("t2", "flair")
    ]
    rows.append(problem_row("gone", "", "missing_channel", "no file for channel t2", "an image", EXCLUDED))
    write_table(workspace.root / "cohorts/demo/verification.csv", pd.DataFrame(rows, columns=PROBLEM_COLUMNS))
    page = workspace.page()
    replaced = "zeros takes the place of T1ce in 2 cases and T2 takes the place of FLAIR in 1 case"
    assert f"2 cases of {len(CASES)} lack a channel that the study reads: {replaced}." in page.text
    assert "2 cases are left out for want of a channel that the study reads." in page.text
    header, *substituted = page.table("Channels that cases of demo lack, and what is read in their place.")
    assert header == ["Missing", "In its place", "Cases", "Which"]
    in_order = ", ".join(case for case in CASES if case in marks)
    assert substituted == [["T1ce", "zeros", "2", in_order], ["FLAIR", "T2", "1", worst]]
    assert page.table("Cases of demo that are left out.")[1:] == [
        ["gone", "no file for channel t2"],
        ["lost", "no file for channel t2; no file for channel flair"],
    ]
    assert "Every file was read and checked: 3 exclusions in 2 cases." in page.text
    assert "no features" not in page.text


def test_cases_without_features_are_named_with_the_reason(workspace: Workspace) -> None:
    worst, second = workspace.ranked()[:2]
    workspace.edit(lambda t: t.assign(substituted=t["case_id"].map({worst: "flair=t2"})), "cohorts", "demo", "manifest.csv")

    def emptied(table: pd.DataFrame) -> pd.DataFrame:
        rows = table["case_id"].isin([worst, second])
        table.loc[rows, [column for column in table if column.startswith("original_")]] = np.nan
        table.loc[rows, "note"] = "WT of the truth: the mask is empty"
        return table

    workspace.edit(emptied, "failure", "net", "cv", "radiomics.csv")
    page = workspace.page()
    words = f"2 of 9 cases have no features: {worst} (no FLAIR, shown is T2) and {second} (WT of the truth: the mask is empty)."
    assert words in page.text


def test_lesion_wise_scores_are_shown_where_there_are_any(workspace: Workspace) -> None:
    assert "Lesion Dice" not in str(workspace.page().tables)
    workspace.change_scores("cv", lambda table: table.assign(**dict.fromkeys(LESION_COLUMNS, 2.0)))
    page = workspace.page()
    header, first, second = page.table("All models and sets")
    place = header.index("Lesion Dice, WT")
    assert (first[place], second[place]) == ("2.000", "–")
    assert ["Lesion HD95 (mm)", "2.00 ± 0.00"] in [row[-8:-6] for row in page.table("Scores of net · cv")]
    cases = page.table("Every case of net · cv")
    assert cases[1][cases[0].index("Lesions")] == "2"


def test_the_extremes_are_listed_from_the_most_extreme_with_their_values(untouched: Workspace, page: Page) -> None:
    extremes = untouched.table("failure", "net", "cv", "extremes.csv")
    for group in ("worst", "best"):
        chosen = extremes[extremes["group"] == group].sort_values("rank")
        header, *rows = page.table(f"The {group} cases of net · cv")
        assert header[:3] == ["Rank", "Case", "Hausdorff (mm)"]
        assert [row[:3] for row in rows] == [
            [str(row["rank"]), row["case_id"], f"{row['value']:.2f}"] for row in chosen.to_dict("records")
        ]
    assert f"The very worst is {extremes['case_id'][0]} (WT" in page.text


def test_every_extreme_case_has_its_picture(untouched: Workspace, page: Page) -> None:
    pictures = [given["alt"] for tag, given in page.elements if tag == "img" and "axial slices" in given["alt"]]
    for row in untouched.table("failure", "net", "cv", "extremes.csv").to_dict("records"):
        (alt,) = [alt for alt in pictures if row["case_id"] in alt]
        assert alt.startswith(f"{row['group']} {row['rank']}")


def test_the_strongest_associations_are_in_the_table_one_of_each_that_tell_the_same(untouched: Workspace, page: Page) -> None:
    associations = untouched.table("failure", "net", "cv", "associations.csv")
    shown = representatives(associations).head(20)
    header, *rows = page.table("Features of net · cv")
    assert header[:4] == ["Feature", "Tells of", "Stands for", "n"]
    assert [row[2] for row in rows] == [str(size) for size in shown["stands_for"]]
    rho = header.index("ρ [95 % CI]")
    assert [row[rho].partition(" ")[0] for row in rows] == [f"{x:.2f}".replace("-", "−") for x in shown["spearman_rho"]]
    assert associations["feature"][0] == "original_firstorder_Feature04"
    words = page.text.replace("\u00a0", " ")
    constant = "the feature is the same in every patient; the feature is the same in every one of the extremes"
    assert f"1 of 26 features could not be tested: {constant}." in words
    assert f"the largest |d| stays below {associations['d_null_95'][0]:.2f}." in words


def test_nine_patients_allow_no_claim(page: Page) -> None:
    words = "Nothing is claimed of features: 9 patients with features and a value of the Hausdorff distance of WT are too few"
    assert words in page.text.replace("\u00a0", " ")
    assert "rises with" not in page.text and "falls with" not in page.text


def test_what_is_found_is_named_in_summary_and_section(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "FEWEST_CLAIMED", 9)
    page = workspace.page()
    words = r"Over 9 patients, the Hausdorff distance of WT rises with Feature 04 \(first order, ρ = 1\.00, q = 0\.00\d\)"
    assert len(re.findall(words, page.text.replace("\u00a0", " "))) == 2


def test_the_planted_difficulty_is_counted_in_both_groups(workspace: Workspace) -> None:
    worst, *_, best = workspace.table("failure", "net", "cv", "extremes.csv")["case_id"]
    (other,) = set(workspace.table("failure", "net", "cv", "extremes.csv").query("group == 'worst' and rank == 2")["case_id"])
    planted = {worst: "low_contrast", other: "heavy_noise", best: "low_contrast"}
    workspace.edit(lambda t: t.assign(planted=t["case_id"].map(planted).fillna("")), "cohorts", "demo", "phantom.csv")
    page = workspace.page()
    words = "A difficulty was planted in 2 of the 3 worst (1 low contrast, 1 heavy noise) and 1 of the 3 best (1 low contrast)."
    assert words in page.text
    assert [row[:2] for row in page.table("What makes cases of demo hard")[1:]] == [
        ["heavy noise", "1"],
        ["low contrast", "2"],
        ["nothing", "9"],
    ]
    assert [row[-1] for row in page.table("The worst cases")[1:]] == ["low contrast", "heavy noise", "nothing"]


def test_the_split_counts_cases_and_patients(page: Page) -> None:
    assert "The cohort demo has 12 cases, one a patient: 9 for training and 3 held out." in page.text
    rows = page.table("How demo is split")[1:]
    assert rows[:3] == [["all", "12", "12"], ["training", "9", "9"], ["held out", "3", "3"]]
    assert sum(int(row[1]) for row in rows[3:]) == 9


def test_regions_that_a_case_lacks_are_counted_apart_from_its_volumes(page: Page) -> None:
    rows = page.table("Volumes of the regions in demo")[1:]
    parts = [row[-6:] for row in rows]
    assert [int(part[1]) + int(part[2]) for part in parts] == [9, 3] * 5
    assert sum(int(part[2]) for part in parts) == 1


def test_the_folds_show_where_training_ended(page: Page) -> None:
    rows = page.table("The folds of net")[1:]
    assert rows[1] == ["1", "5", "4", "3", "4.0", "cpu", "−0.510", "0.800", "0.800", "0.800", "4 May 2024"]
    assert "last training finished 4 May 2024" in page.text
    checkpoint = "models/net/nnunet/fold_1/checkpoint_final.pth"
    assert page.table("The trained networks")[2] == ["1", "not recorded", "–", "1" * 16, checkpoint]


def problem(case: str = "case_03", severity: str = "warning", kind: str = "empty_label") -> list[str]:
    return [case, case, f"/data/{case}_seg.nii.gz", severity, kind, "no voxel", "a tumour", "all of it"]


def problems(*rows: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=PROBLEM_COLUMNS)


def test_problems_of_the_cohort_are_listed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.edit(lambda _: problems(problem(), problem("case_04")), "cohorts", "demo", "verification.csv")
    monkeypatch.setattr(problem_report, "SHOWN_PROBLEMS", 1)
    page = workspace.page()
    assert "2 warnings in 2 cases. The first 1 are listed; all are in cohorts/demo/verification.csv." in page.text
    assert page.table("Problems found in demo")[1:] == [
        ["case_03", "warning", "empty_label", "case_03_seg.nii.gz", "no voxel", "a tumour"]
    ]


def test_each_kind_of_problem_is_a_sentence_with_its_counts_errors_first(workspace: Workspace) -> None:
    found = problems(
        problem(), problem(), problem("case_04"), problem(kind="near_empty_label"), problem("", "error", "too_few_cases")
    )
    workspace.edit(lambda _: found, "cohorts", "demo", "verification.csv")
    page = workspace.page()
    assert "Every file was read and checked: 1 error and 4 warnings in 2 cases." in page.text
    assert page.table("What checking demo found")[1:] == [
        ["too_few_cases", "There are fewer patients than the sets, or the folds, need.", "error", "1", ""],
        ["empty_label", "A truth mask is empty: the case shows no tumour.", "warning", "3", "2"],
        ["near_empty_label", "A truth mask is all but empty.", "warning", "1", "1"],
    ]


def test_an_external_cohort_is_said_to_share_nothing_with_the_training_cohort(tmp_path: Path) -> None:
    alone = {"alone": {"dataset": "phantom", "cases": 12}}
    workspace = Workspace(tmp_path, {**EXTERNAL, "cohorts": {**EXTERNAL["cohorts"], **alone}})
    sentence = "Compared with demo, which models that predict other are trained on: "
    assert f"{sentence}no image and no patient in common, and the arrays are oriented alike." in workspace.page().text
    workspace.edit(lambda _: problems(problem("case_01", "error", "leaked_image")), "cohorts", "other", "comparison.csv")
    page = workspace.page()
    assert f"{sentence}1 error in 1 case." in page.text
    assert page.text.count("Compared with") == 1
    (_, row) = page.table("What checking other found")
    assert (row[0], *row[2:]) == ("leaked_image", "error", "1", "1")


def reported_kinds() -> Iterator[str]:
    """Yield every kind of problem that the code reports, where it stands there as text."""
    place = {"problem_row": 2, "report": 1}
    for path in (Path(write_report.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                kind = node.args[place[name]] if name in place and len(node.args) > place[name] else None
                if isinstance(kind, ast.Constant):
                    yield str(kind.value)


def test_every_kind_of_problem_has_its_sentence() -> None:
    kinds = set(reported_kinds())
    assert {"affine_mismatch", "two_files", "leaked_patient"} <= kinds
    assert kinds - set(problem_report.PROBLEM_WORDS) == set()
    assert problem_report.problem_words("some_news") == "Some news."


def test_a_cohorts_facts_say_what_it_is_and_how_its_arrays_lie(page: Page) -> None:
    words = page.text.replace("\u00a0", " ")
    for fact in (
        "LPS in every case",
        "1200 to 1401 ml",
        "made by the workflow",
        "MIT",
        "25 % held out; test set and folds drawn",
    ):
        assert fact in words


def test_a_data_sets_facts_are_those_of_the_registry(brats_folder: Path) -> None:
    real = {"dataset": "brats2021", "path": str(brats_folder), "external": True}
    study = load_study({"cohorts": {"real": real}}, "study.yaml")
    manifest = pd.DataFrame({"case_id": ["a", "b"], "orientation": ["LPS", "RAS"], "brain_ml": [1300.0, 1500.0]})
    facts = dict(cohort_facts(study.model_dump(mode="json")["cohorts"]["real"], manifest))
    entry = datasets()["brats2021"]
    for term, text in (("Data set", entry.title), ("Version", entry.version), ("Source", entry.source)):
        assert facts[term] == text
    assert facts["Access"] == ACCESS_WORDS[entry.access]
    assert (facts["Licence"], facts["Citation"]) == (entry.licence, entry.citation)
    assert facts["Orientation"] == "LPS (1 case), RAS (1 case)"
    assert facts["Brain volume"] == "1300 to 1500 ml"
    assert facts["Split"] == "external: nothing is trained on it"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "none held out; folds drawn by patient with seed 3, alike in whole-tumour volume"),
        ({"split": "split.csv"}, "read from split.csv"),
        (
            {"stratify_by": "grade"},
            "none held out; folds drawn by patient with seed 3, alike in whole-tumour volume within each grade",
        ),
        (
            {"test_cases": ["a"]},
            "test cases named in the configuration; folds drawn by patient with seed 3, alike in whole-tumour volume",
        ),
    ],
)
def test_the_way_a_cohort_is_divided_is_told(spec: dict[str, Any], words: str) -> None:
    assert split_words({"seed": 3, "test_fraction": 0.0, **spec}) == words


def test_an_external_cohort_is_one_part_and_said_to_be_external(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, EXTERNAL)
    workspace.edit(lambda t: t.assign(set="external"), "cohorts", "other", "split.csv")
    page = workspace.page()
    assert "The cohort other has 12 cases, one a patient: external, no model is trained on them." in page.text
    assert page.table("How other is split")[1:2] == [["all", "12", "12"]]
    assert {row[-6] for row in page.table("Volumes of the regions in other")[1:]} == {"all cases"}


def test_a_cohort_that_is_partly_external_has_three_parts(workspace: Workspace) -> None:
    workspace.edit(
        lambda t: t.assign(
            set=["external" if case in CASES[-2:] else kind for case, kind in zip(t["case_id"], t["set"], strict=True)]
        ),
        *("cohorts", "demo", "split.csv"),
    )
    split = workspace.table("cohorts", "demo", "split.csv")
    sizes = split["set"].value_counts()
    page = workspace.page()
    assert f"{sizes['train']} for training, {sizes['test']} held out and 2 external." in page.text
    assert [row[0] for row in page.table("How demo is split")[1:5]] == ["all", "training", "held out", "external"]
    assert page.table("Covariates of demo")[0][-2:] == ["n, external", "External"]


def test_the_covariates_of_a_cohort_are_counted_by_part() -> None:
    covariates = pd.DataFrame(
        {
            "age": ["40", "50", "61", "70", None],
            "sex": list("FMFFM"),
            "trial_id": list("vwxyz"),
            "site": list("pqrst"),
            "dose": None,
        },
        dtype="string",
    )
    table = covariate_table("demo", covariates, {"training": [True] * 3 + [False] * 2, "held out": [False] * 3 + [True] * 2})
    assert table is not None
    assert table.columns == ["Covariate", "Value", "n, training", "Training", "n, held out", "Held out"]
    assert [[cell.text.replace("\u00a0", " ") for cell in row] for row in table.rows] == [
        ["age", "median [quartiles]", "3", "50.0 [45.0, 55.5]", "1", "70.0 [70.0, 70.0]"],
        ["sex", "F", "3", "2 (67 %)", "2", "1 (50 %)"],
        ["sex", "M", "3", "1 (33 %)", "2", "1 (50 %)"],
        ["trial_id", "an identifier", "3", "", "2", ""],
        ["site", "a text that differs in every case", "3", "", "2", ""],
        ["dose", "no case has a value", "0", "", "0", ""],
    ]


def test_a_part_without_any_value_has_dashes() -> None:
    covariates = pd.DataFrame({"age": ["40", "50", "61", None], "sex": ["F", "M", "F", None]}, dtype="string")
    table = covariate_table("demo", covariates, {"training": [True] * 3 + [False], "held out": [False] * 3 + [True]})
    assert table is not None
    assert [[cell.text for cell in row[-2:]] for row in table.rows] == [["0", "–"]] * 3


def test_training_and_external_cases_are_two_parts() -> None:
    split = pd.DataFrame({"case_id": ["a", "b", "c"], "set": ["train", "external", "train"]})
    parts = parts_of(pd.DataFrame({"case_id": ["c", "b", "a"]}), split)
    assert parts == {"training": [True, False, True], "external": [False, True, False]}


def test_many_levels_are_counted_together() -> None:
    values = [f"site {number:02}" for number in range(20) for _ in range(2)]
    table = covariate_table("demo", pd.DataFrame({"site": values}, dtype="string"), {"all cases": [True] * 40})
    assert table is not None
    assert [row[1].text for row in table.rows] == [*(f"site {number:02}" for number in range(12)), "8 other values"]
    assert table.rows[-1][3].text == "16 (40\u00a0%)"


def test_the_covariates_of_the_extremes_are_shown_in_words(workspace: Workspace) -> None:
    ranked = workspace.ranked()
    ages = {case: 90 - index for index, case in enumerate(ranked)}
    grades = {case: "HGG" if case in (*ranked[:3], ranked[-1]) else "LGG" for case in ranked}
    workspace.give_covariates(age_years=ages, grade=grades, scanner=dict.fromkeys(CASES, "Aera"))
    page = workspace.page()
    header, *rows = page.table("Covariates of the worst and the best cases of net · cv")
    assert header == ["Covariate", "Value", "Worst", "Best", "In the worst", "n worst", "n best", "Over all cases", "p", "q"]
    shown = [[text.replace("\u00a0", " ") for text in row] for row in rows]
    assert "Nothing is claimed of covariates: 9 patients are too few (10 are the least)." in page.text
    # Ages of the worst 90, 89 and 88, of the best 84, 83 and 82: six years over a standard deviation of one.
    assert shown[0][:8] == ["age_years", "mean", "89.00", "83.00", "higher (d = 6.00)", "3", "3", "ρ = 1.00, n = 9"]
    assert shown[0][8] == "< 0.001"
    assert shown[1][:7] == ["grade", "is HGG", "100 %", "33 %", "more often (+67 points)", "3", "3"]
    assert shown[2][:5] == ["is LGG", "0 %", "67 %", "less often (−67 points)", "3"]
    assert shown[2][-2:] == ["", ""]
    assert "Not compared: scanner (one value in every case: Aera)." in page.text
    assert "With full precision in failure/net/cv/covariates.csv." in page.text


def test_a_covariate_is_named_in_the_summary_only_below_a_q_of_a_twentieth(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covariate_report, "FEWEST_CLAIMED", 9)
    ranked = workspace.ranked()
    ages = {case: 90 - index for index, case in enumerate(ranked)}
    workspace.give_covariates(age_years=ages, dose={case: index % 4 for index, case in enumerate(ranked)})
    (item,) = summary_section(workspace.source())["failures"]
    words = item["text"].replace("\u00a0", " ")
    assert "Over all cases the Hausdorff distance of WT rises with age_years (Spearman ρ = 1.00, q < 0.001)." in words
    assert "dose" not in words
    workspace.give_covariates(age_years={case: 90 - 3 * (index % 3) for index, case in enumerate(ranked)})
    (item,) = summary_section(workspace.source())["failures"]
    assert "age_years" not in item["text"]


def test_chance_is_not_told_as_a_finding(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covariate_report, "FEWEST_CLAIMED", 9)
    words = workspace.page().text.replace("\u00a0", " ")
    assert (
        "Of 2 covariates tested none goes along with the Hausdorff distance of WT more than chance may do (q ≥ 0.05)." in words
    )
    assert "Over all cases the" not in words


def test_a_long_table_of_covariates_is_cut_and_says_where_the_rest_is(workspace: Workspace) -> None:
    values = {case: index for index, case in enumerate(CASES)}
    workspace.give_covariates(**{f"marker_{number}": values for number in range(14)})
    page = workspace.page()
    assert len(page.table("Covariates of the worst and the best cases of net · cv")) == 1 + 12
    assert "The first 12 of 14 rows; all are in failure/net/cv/covariates.csv." in page.text


def test_a_cohort_without_covariates_says_so(workspace: Workspace) -> None:
    workspace.give_covariates()
    page = workspace.page()
    assert "No covariates are known of this cohort." in page.text
    assert "The cohort demo has no covariates." in page.text


@pytest.mark.parametrize(("value", "text"), [(0.04049, "= 0.040"), (0.0002, "<\u00a00.001"), (1.0, "= 1.000"), (np.nan, "–")])
def test_small_probabilities_are_bounds(value: float, text: str) -> None:
    assert probability(value, "= ") == text


def test_nothing_is_loaded_from_anywhere(html: str, page: Page) -> None:
    assert {source.split(",")[0] for source in page.attributes("src")} == {
        "data:image/png;base64",
        "data:image/svg+xml;base64",
    }
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", re.sub(r'src="data:[^"]*"', "", html))
    links = [given["href"] for tag, given in page.elements if tag == "a"]
    cited = ("https://doi.org/", "https://arxiv.org/", "https://github.com/")
    assert all(link.startswith(("#", *cited)) for link in links)


def test_links_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert {link[1:] for link in page.attributes("href") if link.startswith("#")} <= set(ids)


def test_pictures_have_words_and_tables_have_captions_and_headers(page: Page) -> None:
    assert all(given["alt"] for tag, given in page.elements if tag == "img")
    names = [tag for tag, _ in page.elements]
    assert names.count("table") == names.count("caption") == len(page.tables)
    assert all(given["scope"] in ("col", "row", "rowgroup") for tag, given in page.elements if tag == "th")


def test_undefined_values_are_dashes(page: Page) -> None:
    assert not re.search(r"\b(nan|NaN|NA|None|inf)\b", page.text.split("cohorts:")[0])
    (row,) = [row for row in page.table("Every case of net · cv") if row[-1] == NOTE_BOTH_EMPTY]
    assert row.count("–") == 7


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ["–", "–", "–", "–", "0", "1", ""]),
        ([0.5], ["0.500", "–", "0.500 [0.500, 0.500]", "0.500 to 0.500", "1", "0", ""]),
    ],
)
def test_a_summary_of_no_case_is_dashes_and_of_one_has_no_deviation(values: list[float], shown: list[str]) -> None:
    table = pd.DataFrame([dict.fromkeys(COLUMNS, np.nan) | {"label": "ET"}]).astype({"note": "string"})
    table["dice"] = values or np.nan
    rows = scores.summary_table(Pair("net", "cv", "demo", False), summaries_of(summarise(table)), ["ET"], {}).rows
    assert [cell.text for cell in rows[0]] == ["ET", "Dice", *shown]


def test_names_and_notes_are_text_whatever_they_hold(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, {**CONFIG, "report": {"title": "<script>alert(1)</script> & co"}})
    evil = "<b onload=x>'\"&amp;</td>"
    for name in ("extremes", "overlays", "witnesses"):
        workspace.edit(lambda t: t.assign(case_id=t["case_id"].replace("case_02", evil)), "failure", "net", "cv", f"{name}.csv")
    workspace.edit(lambda t: t.assign(case_id=t["case_id"].replace("case_02", evil)), "scores", "net", "cv.csv")
    html = workspace.html()
    page = Page(html)
    assert evil in {row[0] for row in page.table("Every case of net · cv")}
    assert "<script>alert(1)</script> & co" in page.text
    assert "<script>alert" not in html
    types = [given.get("type", "") for tag, given in page.elements if tag == "script"]
    assert types == ["application/json"] * 5 + [""], "cases of two sets twice, kinds of errors, and the page's own script"


def test_the_same_tables_give_the_same_bytes(untouched: Workspace, html: str) -> None:
    assert untouched.html() == html


def test_given_masks_have_scores_and_failures_but_no_training(tmp_path: Path) -> None:
    page = Workspace(tmp_path, given_study(tmp_path)).page()
    assert "This study trains no model." in page.text
    assert "theirs: precomputed predictions, not trained here." in page.text
    assert page.table("How well each set")[1][:3] == ["theirs", "given", "12"]
    assert "newest scores written" in page.text
    assert not any(caption.startswith("The trained networks") for caption in page.tables)


FULL_MODEL: dict[str, Any] = {
    **CONFIG["models"]["net"], "network": "attention_resunet", "loss": "focal_ce", "optimiser": "ranger", "schedule": "cosine",
    "initial_lr": 1e-4, "weight_decay": 0, "deep_supervision": False, "tta": "both", "prediction_folds": [1],
    "swa": {"cycles": 5, "epochs_per_cycle": 1}, "postprocessing": {},
}  # fmt: skip
STEPS = [
    {"region": "WT", "operation": "largest_component", "value": None, "becomes": 0},
    {"region": "TC", "operation": "min_volume_ml", "value": 0.25, "becomes": 2},
    {"region": "ET", "operation": "et_threshold_ml", "value": 0.5, "becomes": 1},
]


def facts_of(workspace: Workspace) -> dict[str, str]:
    return dict(model_facts(workspace.source(), "net"))


def test_a_model_with_nnunets_choices_says_which_they_are(untouched: Workspace, page: Page) -> None:
    facts = facts_of(untouched)
    assert facts["Network"] == "nnU-Net 3d_fullres, with patch 48 × 48 × 48"
    assert facts["Loss"] == "Dice and cross-entropy, with deep supervision"
    assert facts["Optimiser"] == "SGD, learning rate 0.01 falling polynomially, weight decay 3e-05"
    assert facts["Training"] == "3 epochs of 250 iterations, seed 0"
    assert facts["Prediction"] == "without test-time augmentation (mirroring)"
    assert not {"Stochastic weight averaging", "Trainer", "Post-processing"} & set(facts)
    assert all(text in page.text for text in facts.values())


def test_every_setting_of_a_model_is_told(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, {**CONFIG, "models": {"net": FULL_MODEL}})
    write_json(tmp_path / "models/net/postprocessing.json", {"steps": STEPS, "tried": []})
    facts = facts_of(workspace)
    assert facts["Network"] == "residual U-Net with attention gates 3d_fullres, with patch 48 × 48 × 48"
    assert facts["Loss"] == "focal loss and cross-entropy, without deep supervision"
    assert facts["Optimiser"] == "Ranger (RAdam with Lookahead), learning rate 0.0001 falling as a cosine, weight decay 0"
    averaging = "5 cycles of 1 epoch after them, weights added every 3 epochs, learning rate 5e-05 at the start of each"
    assert facts["Stochastic weight averaging"] == averaging
    assert facts["Prediction"] == "with and without test-time augmentation (mirroring)"
    dropped = "components of TC below 0.25 ml are dropped; ET below 0.5 ml in total is dropped"
    assert facts["Post-processing"] == f"only the largest component of WT stays; {dropped}"
    page = workspace.page()
    assert "held out: cases that no fold was trained on, predicted by fold 1." in page.text
    write_json(tmp_path / "models/net/postprocessing.json", {"steps": [], "tried": []})
    assert facts_of(workspace)["Post-processing"] == "none: no step that was tried helped on cv"


def test_the_code_that_a_fold_was_trained_with_is_told_beside_todays(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert facts_of(workspace)["Trained with"] == "not recorded when it was trained"
    today = training_code()
    versions = {"python": "3.11.2", "nnunetv2": today["nnunetv2"], "torch": today["torch"], "numpy": "2.4.6"}
    same = {"code": today["code"], "device": "cpu", "versions": versions}
    other = {**same, "code": "0" * 16, "versions": {**versions, "torch": "1.0"}}

    def record(fold: int, *trained_with: dict[str, Any]) -> None:
        path = tmp_path / f"models/net/fold_{fold}/manifest.json"
        last = {"versions": trained_with[-1]["versions"], "trained_with": list(trained_with)}
        write_json(path, {**read_json(path), **last})

    record(0, same)
    words = f"nnU-Net {today['nnunetv2']}, torch {today['torch']} and glioflow's trainer {today['code'][:8]}"
    assert facts_of(workspace)["Trained with"] == f"fold 0: {words}; fold 1: not recorded when it was trained"
    record(1, same)
    assert facts_of(workspace)["Trained with"] == words
    record(1, other, same)
    former = (
        f"nnU-Net {today['nnunetv2']}, torch 1.0 and glioflow's trainer 00000000 (today it would be glioflow's trainer "
        f"{today['code'][:8]} and torch {today['torch']}; retrain_on_upgrade trains again), then {words}"
    )
    assert facts_of(workspace)["Trained with"] == f"fold 0: {words}; fold 1: {former}"


def test_a_version_that_was_not_recorded_when_a_fold_was_trained_is_told_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    rows = {row[0].text: row[2].text for row in versions_table(workspace.source()).rows}
    assert (rows["nnunetv2"], rows["torch"], rows["python"]) == ("2.8.1", "not recorded", "3.11.2")


def test_what_a_custom_trainer_decides_is_not_told_as_the_studys(tmp_path: Path) -> None:
    model = {**CONFIG["models"]["net"], "trainer": "nnUNetTrainerDA5", "initial_lr": 0.02}
    workspace = Workspace(tmp_path, {**CONFIG, "models": {"net": model}})
    for fold in range(2):
        path = tmp_path / f"models/net/fold_{fold}/manifest.json"
        manifest = read_json(path)
        told = {"seed": 0, "initial_lr": 0.02, "trainer": "f" * 64}
        write_json(path, {**manifest, "parts": {**manifest["parts"], "plans": {"settings": told}}})
    facts = facts_of(workspace)
    assert facts["Trainer"].startswith("nnUNetTrainerDA5, the study's own")
    assert facts["Loss"] == "the trainer's own"
    assert facts["Optimiser"] == "the trainer's own, learning rate 0.02"
    assert facts["Training"] == "the trainer's own epochs, seed 0"
    assert "2 folds by the trainer nnUNetTrainerDA5" in workspace.source().model_words("net")


@pytest.mark.parametrize(
    ("ensemble", "words"),
    [
        ({}, "ensemble, the mean of the probabilities of a and b"),
        ({"method": "vote"}, "ensemble, the majority vote of the masks of a and b"),
        ({"method": "staple", "merge": {"ET": "b"}}, "ensemble, STAPLE of the masks of a and b; ET from b"),
        ({"postprocessing": {}}, "ensemble, the mean of the probabilities of a and b; post-processed"),
        ({"merge": {"ET": "b"}}, "ensemble, the mean of the probabilities of a and b; ET from b"),
        ({"merge": {"TC": "a", "ED": "b"}}, "ensemble, TC from a and ED from b"),  # nothing of the mean is left
    ],
)
def test_an_ensemble_is_what_its_method_and_its_merge_make_of_it(tmp_path: Path, ensemble: dict[str, Any], words: str) -> None:
    models = {"a": {"cohort": "demo"}, "b": {"cohort": "demo"}}
    config = {**CONFIG, "models": models, "ensembles": {"e": {"members": ["a", "b"], **ensemble}}}
    study = load_study(config, "study.yaml").model_dump(mode="json")
    source = Source(study, "study.yaml", tmp_path, [{"model": "e", "set": "test", "cohort": "demo", "failure": False}], {})
    assert source.model_words("e") == words
    assert source.set_words(source.pairs[0]).endswith("predicted by its members")


def test_an_imported_model_is_neither_trained_nor_given(tmp_path: Path) -> None:
    model = {"archive": "/data/theirs.zip", "cohort": "demo", "external": ["other"], "tta": True, "prediction_folds": [0, 2]}
    study = {"models": {"m": model}, "ensembles": {}, "evaluation": {"regions": ["WT"]}}
    source = Source(study, "study.yaml", tmp_path, [{"model": "m", "set": "demo", "cohort": "demo", "failure": False}], {})
    assert source.model_words("m") == "imported from theirs.zip, not trained here"
    words = "external: all cases of the cohort demo, predicted by the folds 0 and 2 together"
    assert source.set_words(source.pairs[0]) == words
    assert source.trained_on("other") == []


def test_without_failure_sets_the_page_says_so(tmp_path: Path) -> None:
    page = Workspace(tmp_path, given_study(tmp_path, sets=["cv"])).page()
    assert "No prediction set of this study is analysed for failures" in " ".join(page.text.split())
    assert "pyradiomics" not in page.text.split("Please cite")[1].split("Provenance")[0]


def test_without_a_model_the_cohort_is_shown_alone(tmp_path: Path) -> None:
    page = Workspace(tmp_path, {"cohorts": CONFIG["cohorts"]}).page()
    assert "This study names no model: nothing was predicted, and nothing could be scored." in page.text
    assert "Nothing was scored." in page.text
    assert page.table("How demo is split")


def test_one_case_a_group_has_no_effect_sizes_and_says_why(tmp_path: Path) -> None:
    page = Workspace(tmp_path, {**CONFIG, "failure": {"extremes": 1}}).page()
    header, *rows = page.table("Features of net · cv")
    assert "d [95 % CI]" in header
    assert {row[header.index("d [95 % CI]")] for row in rows} == {"–"}


def test_a_missing_picture_is_a_sentence(workspace: Workspace) -> None:
    case = workspace.table("failure", "net", "cv", "extremes.csv")["case_id"][0]
    (workspace.root / "failure" / "net" / "cv" / "overlays" / f"{case}.png").unlink()
    assert f"1 · {case}" in workspace.page().text
    assert "the picture is missing" in workspace.page().text


def test_a_missing_table_is_the_users_to_mend(workspace: Workspace) -> None:
    path = workspace.root / "scores" / "net" / "cv_summary.csv"
    path.unlink()
    with pytest.raises(UserError, match=re.escape(f"{path} is missing")):
        workspace.page()


def test_the_whole_configuration_is_on_the_page(page: Page) -> None:
    for line in ("dataset: phantom", "low_contrast: 2", "initial_lr: 0.01", "bin_width: 25.0"):
        assert line in page.text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.12345, 3, "0.123"),
        (-1.5, 1, "−1.5"),
        (-0.0004, 2, "0.00"),
        (np.nan, 2, "–"),
        (None, 2, "–"),
        (np.inf, 1, "∞"),
        (-np.inf, 1, "−∞"),
        (7, 0, "7"),
    ],
)
def test_numbers_are_rounded_with_a_true_minus(value: float | None, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (123456.7, "123457"), (-12.3456, "−12.35"), (0.00123456, "0.001235"), (1.5e-7, "1.500 × 10^−7"), (np.nan, "–")],
)
def test_features_have_four_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_words_are_joined_as_in_speech() -> None:
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_equal_first_cells_become_one() -> None:
    rows = [[Cell(name), Cell("x")] for name in ("a", "a", "b", "a")]
    assert [span for _, span in row_groups(Table("", ["", ""], rows, headers=2))] == [2, 0, 1, 1]
    assert [span for _, span in row_groups(Table("", ["", ""], rows))] == [1, 1, 1, 1]


def test_empty_columns_go_and_the_numbers_stay_where_they_are() -> None:
    table = without_empty(Table("", ["a", "b", "c"], [[Cell("x"), Cell(""), Cell("1")]], frozenset({2})))
    assert table.columns == ["a", "c"]
    assert table.numeric == {1}


TWO_MODELS: dict[str, Any] = {**CONFIG, "models": {name: {**CONFIG["models"]["net"]} for name in ("net", "wide")}}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study of two models, of which ``net`` has a Dice of 0.01 more in every case, and the same distances."""
    workspace = Workspace(tmp_path_factory.mktemp("compared"), TWO_MODELS)
    for name in ("cv", "test"):
        workspace.change_scores(name, lambda table: table.assign(dice=table["dice"] + 0.01))
    workspace.write_comparison()
    return workspace


def test_two_models_of_one_cohort_are_compared(compared: Workspace) -> None:
    page = compared.page()
    links = [given["href"] for tag, given in page.elements if tag == "a" and "compared" in given["href"]]
    assert links[:3] == ["#compared", "#compared-demo-cv-2", "#compared-demo-test"] and set(links) == set(links[:3])
    header, *rows = page.table("Dice of the models on demo · cv (2 folds)")
    (row,) = [row for row in rows if row[0] == "WT"]
    assert row[1:5] == ["net − wide", "9 of 9 cases", "0.010 [0.010, 0.010]", "1.00"]
    assert "p (Holm, 3 tests)" in header
    distances = page.table("Hausdorff (mm) of the models on demo · cv (2 folds)")
    assert distances[1][1:5] == ["net − wide", "0 of 9 cases, 9 alike", "0.00 [0.00, 0.00]", "0.00"]
    assert page.table("Ranks of the models on demo · test by mean")[1][2] == "net"
    (picture,) = [alt for alt in page.attributes("alt") if "each model at each rank, on demo · cv" in alt]
    assert "Dice WT: net in 100\u00a0%" in picture
    assert "Wiesenfarth" in page.text


def test_one_model_is_compared_with_nothing(page: Page) -> None:
    assert "Models compared" not in page.text
    assert "Wiesenfarth" not in page.text


def test_points_are_spread_within_their_box_and_always_alike() -> None:
    offsets = sideways([3.0, 1.0, 2.0, 2.0], 0.4)
    assert np.abs(offsets).max() <= 0.2
    assert len(set(offsets)) == 4
    assert sideways([5.0], 0.4).tolist() == [0.0]
    assert offsets.tolist() == sideways([3.0, 1.0, 2.0, 2.0], 0.4).tolist()


def test_mean_and_median_are_lines_of_the_figure_with_their_values_below() -> None:
    table = pd.DataFrame({"label": "WT", "dice": [0.1, 0.4, 0.9, np.nan], "hausdorff": [1.0, 2.0, np.inf, np.nan], "note": ""})
    figure = draw_scores(table)
    dice, distance = figure.axes
    (label,), (other,) = ([tick.get_text() for tick in axes.get_xticklabels()] for axes in (dice, distance))
    assert label == "WT\nmean 0.467\nmedian 0.400\nn = 3 (1 undefined)"
    assert other == "WT\nmean ∞\nmedian 2.0\nn = 3 (1 undefined)"
    heights = [(np.unique(np.asarray(line.get_ydata(), float)), line.get_linestyle()) for line in dice.lines]
    flat = {(round(float(height[0]), 9), style) for height, style in heights if len(height) == 1}
    assert {(0.4, "-"), (round(1.4 / 3, 9), "--")} <= flat
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["median", "mean"]


def test_the_figure_shows_the_first_distance_that_the_convention_defines() -> None:
    table = pd.DataFrame({"dice": [0.5], "hausdorff": [np.nan], "hd95_mm": [3.0], "assd_mm": [1.0], "masd_mm": [1.0]})
    assert scores.drawn_metrics(table) == ["dice", "hd95_mm"]
    assert scores.drawn_metrics(table.assign(hausdorff=4.0)) == ["dice", "hausdorff"]
    assert scores.drawn_metrics(table.assign(hd95_mm=np.nan, assd_mm=np.nan, masd_mm=np.nan)) == ["dice"]


def test_a_far_penalty_does_not_flatten_the_measured_distances() -> None:
    values, penalised = pd.Series([2.0, 20.0, 300.0]), pd.Series([False, False, True])
    assert axis_top(values, penalised) == pytest.approx(21.0)
    assert axis_top(pd.Series([2.0, 20.0, 25.0]), penalised) == pytest.approx(26.25)
    assert axis_top(pd.Series([300.0]), pd.Series([True])) == pytest.approx(315.0)
    assert axis_top(pd.Series([np.nan]), pd.Series([False])) == 1.0
    assert axis_top(pd.Series([2.0, np.inf]), pd.Series([False, True])) == pytest.approx(2.1)
    assert axis_top(pd.Series([np.inf]), pd.Series([True])) == 1.0


def test_the_ranks_under_every_convention_are_shown_of_every_set(untouched: Workspace, page: Page) -> None:
    ranks = untouched.table("scores", "net", "cv_convention_ranks.csv")
    (row,) = ranks.query("label == 'WT' and kind == 'distance' and convention == 'open_brats2020'").to_dict("records")
    header, study, other = page.table("How the worst cases of net · cv in WT change with the convention")
    assert study[header.index("Convention")] == "glioflow (Hausdorff)"
    assert other[header.index("τ")] == "−1.00" == number(row["tau_b"], 2)
    assert other[header.index("Enter")] == row["entering"].replace(" ", ", ")
    assert other[header.index("Leave")].split(", ") == untouched.ranked()[:3]
    means = page.table("Means of net · cv over cases under each convention")
    assert len(means) == 1 + 2 * len(REGIONS)
    (picture,) = [alt for alt in page.attributes("alt") if alt.startswith("Ranks of the 3 worst cases of net · cv in WT")]
    assert "0 stay among the worst 3 under each, 3 leave them under some, and 3 others enter" in picture
    # Of three cases, one can be the worst.
    assert page.table("How the worst cases of net · test in WT change with the convention")[2][3] == "0 of 1"
