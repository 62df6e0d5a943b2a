"""What every section of the report reads from: the study's configuration and the tables below its results folder."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from glioflow.cohorts.covariate_values import read_covariates
from glioflow.console import UserError, count
from glioflow.evaluation.score_tables import is_unseen
from glioflow.files import read_table
from glioflow.models.ensembles import covers_all
from glioflow.models.fold_state import read_fold
from glioflow.models.predictions import Tta, augmented_first, read_tta, tta_kinds
from glioflow.report.plotting import CHANNEL_NAMES, save_figure
from glioflow.report.tables import day, join_words

NETWORK_WORDS = {
    "plain": "nnU-Net",
    "resenc_m": "nnU-Net with a residual encoder (M)",
    "resenc_l": "nnU-Net with a residual encoder (L)",
    "attention_resunet": "residual U-Net with attention gates",
    "equiunet": "EquiUnet",
}
METHOD_WORDS = {
    "mean": "the mean of the probabilities of",
    "vote": "the majority vote of the masks of",
    "staple": "STAPLE of the masks of",
}


@dataclass(frozen=True)
class Picture:
    """An image within the page: its data URI and the words that stand for it."""

    source: str
    alt: str


# Region and metric to their row of the summary.
Summary = dict[tuple[str, str], dict[str, Any]]


def summaries_of(table: pd.DataFrame) -> dict[Tta, Summary]:
    """Return the rows of a summary for each value of tta that it has, with augmentation first."""
    kinds = read_tta(table)
    rows = list(zip(kinds, records(table), strict=True))
    return {kind: {(row["label"], row["metric"]): row for tta, row in rows if tta is kind} for kind in tta_kinds(table)}


@dataclass(frozen=True)
class Pair:
    """A prediction set: the masks of one model for the cases of one set, and the cohort these belong to."""

    model: str
    set: str
    cohort: str
    failure: bool

    @property
    def name(self) -> str:
        """The set's name for people."""
        return f"{self.model} · {self.set}"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts by column."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]


def embed(path: Path, alt: str) -> Picture | None:
    """Return a picture file as part of the page, None where there is no such file."""
    if not path.exists():
        return None
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return Picture(f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}", alt)


def embed_figure(figure: Figure, alt: str) -> Picture | None:
    """Return a figure as a vector graphic within the page."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        save_figure(figure, path)
        return embed(path, alt)


class Source:
    """A study and its results.

    ``pairs``: one mapping a set that is scored; ``trained``: model to number of folds; ``unscored``: ``model/set`` of each
    set without truth.
    """

    def __init__(
        self,
        study: Mapping[str, Any],
        config_file: str,
        results: str | Path,
        pairs: Iterable[Mapping[str, Any]],
        trained: Mapping[str, int],
        unscored: Iterable[str] = (),
    ) -> None:
        self.study = study
        self.config_file = config_file
        self.root = Path(results)
        self.pairs = [Pair(pair["model"], pair["set"], pair["cohort"], bool(pair["failure"])) for pair in pairs]
        self.trained = trained
        self.unscored = list(unscored)
        self.regions: list[str] = list(study["evaluation"]["regions"])
        self._tables: dict[Path, pd.DataFrame] = {}

    # ---- tables

    def table(self, *parts: str) -> pd.DataFrame:
        """Return the table at a path below the results folder, read once. Raises UserError where it is missing."""
        path = self.root.joinpath(*parts)
        if path not in self._tables:
            self._tables[path] = read_table(self.existing(path))
        return self._tables[path]

    def existing(self, path: Path) -> Path:
        """Return ``path``. Raises UserError where there is no such file."""
        if not path.exists():
            raise UserError(f"{path} is missing, and the report needs it; run the workflow again, it will make it")
        return path

    def cohort_table(self, cohort: str, name: str) -> pd.DataFrame:
        """Return a table of a cohort: ``manifest``, ``split``, ``verification``, ``comparison``, ``phantom``."""
        return self.table("cohorts", cohort, f"{name}.csv")

    def covariates(self, cohort: str) -> pd.DataFrame:
        """Return the covariates of a cohort as text, a row a case, in the order of the manifest."""
        return read_covariates(self.existing(self.root / "cohorts" / cohort / "manifest.csv"))

    def trained_on(self, cohort: str) -> list[str]:
        """Return the other cohorts on which models that predict this one are trained."""
        models = [self.study["models"][name] for name in self.trained]
        return sorted({model["cohort"] for model in models if cohort in model.get("external", [])} - {cohort})

    def scores(self, pair: Pair) -> pd.DataFrame:
        """Return the score table of a set."""
        return self.table("scores", pair.model, f"{pair.set}.csv")

    def summaries(self, pair: Pair) -> dict[Tta, Summary]:
        """Return the summary of a set for each value of tta that it has, with augmentation first."""
        return summaries_of(self.table("scores", pair.model, f"{pair.set}_summary.csv"))

    def groups(self, pair: Pair) -> pd.DataFrame:
        """Return the summaries of a set's groups; names and values of covariates are text, as 01 is."""
        path = self.existing(self.root / "scores" / pair.model / f"{pair.set}_groups.csv")
        text = ("covariate", "value", "label", "metric")
        return read_table(path, text)

    def warnings(self, pair: Pair) -> list[str]:
        """Return what may be wrong with a set's masks and scores, a sentence each."""
        tables = [self.table("predictions", pair.model, "given", "warnings.csv")] if pair.set == "given" else []
        tables.append(self.table("scores", pair.model, f"{pair.set}_warnings.csv"))
        texts = [str(text) for table in tables for text in table["found"]]
        return [f"{text[0].upper()}{text[1:]}{'' if text.endswith('?') else '.'}" for text in texts]

    def unseen(self, pair: Pair) -> dict[str, str]:
        """Return the regions that a set's model cannot show, each with the reason."""
        scores = self.scores(pair)
        rows = scores[is_unseen(scores)].drop_duplicates("label")
        return {row["label"]: row["note"] for row in records(rows)}

    def cases(self, pair: Pair, tta: Tta) -> int:
        """Return how many cases of a set were scored with, or without, test-time augmentation."""
        scores = self.scores(pair)
        return int(scores["case_id"][[kind is tta for kind in read_tta(scores)]].nunique())

    def shown_scores(self, pair: Pair) -> pd.DataFrame:
        """Return one row a case and region that applies, with test-time augmentation where there are both."""
        scores = augmented_first(self.scores(pair)).drop_duplicates(["case_id", "label"]).sort_index()
        return pd.DataFrame(scores[~scores["label"].isin(list(self.unseen(pair)))])

    def both_tta(self) -> bool:
        """Tell whether some set was scored with and without test-time augmentation."""
        return any(len(self.summaries(pair)) > 1 for pair in self.pairs)

    def failure(self, pair: Pair, name: str) -> pd.DataFrame:
        """Return a table of a set's failures, such as ``extremes``, ``associations``, ``failure_types`` or ``overlays``."""
        return self.table("failure", pair.model, pair.set, f"{name}.csv")

    def volumes(self, pair: Pair) -> dict[str, str]:
        """Return case to the script with its volumes, a path from the page; of those alone that are there."""
        folder = self.root / "report" / "viewer" / pair.model / pair.set
        table = self.table("report", "viewer", pair.model, pair.set, "volumes.csv")
        place = f"viewer/{pair.model}/{pair.set}"
        return {str(row["case_id"]): f"{place}/{row['path']}" for row in records(table) if (folder / str(row["path"])).exists()}

    def covariate_effects(self, pair: Pair) -> pd.DataFrame:
        """Return the table of a set's covariates; names and levels are text, as 01 is."""
        path = self.existing(self.root / "failure" / pair.model / pair.set / "covariates.csv")
        text = ("covariate", "kind", "level", "effect_name", "note")
        return read_table(path, text)

    def quality(self, pair: Pair, name: str) -> pd.DataFrame:
        """Return a table of a set's volumes and shapes: ``volumes``, ``agreement``, ``sessions``, ``responses`` and others."""
        text = ("measure", "unit", "class_truth", "class_prediction", "region", "mask", "covariate", "feature")
        others = ("session_by", "session_unit", "levels", "response_truth", "response_prediction")
        return read_table(self.existing(self.root / "quality" / pair.model / pair.set / f"{name}.csv"), (*text, *others))

    def comparison(self) -> pd.DataFrame:
        """Return the differences between models that were scored on the same cases; names are text, as 01 is."""
        return self._table_of_models("comparison.csv", "model_a", "model_b", "favours")

    def ranks(self) -> pd.DataFrame:
        """Return the ranks of models that were scored on the same cases."""
        return self._table_of_models("ranks.csv", "ranking", "model")

    def published(self) -> pd.DataFrame:
        """Return the published values with the study's own beside them; names are text, as 01 is."""
        text = ("model", "set", "metric", "region", "statistic", "differs", "source")
        return read_table(self.existing(self.root / "scores" / "published.csv"), text)

    def _table_of_models(self, name: str, *names: str) -> pd.DataFrame:
        table = read_table(self.existing(self.root / "scores" / name), ("cohort", "set", "folds_by", "label", "metric", *names))
        return table.astype({"folds": "Int64"})

    def conventions(self, pair: Pair) -> pd.DataFrame:
        """Return the scores of a set under every convention, with the cases' ranks."""
        return self.table("scores", pair.model, f"{pair.set}_conventions.csv")

    def convention_ranks(self, pair: Pair) -> pd.DataFrame:
        """Return how the ranking of a set's cases moves between conventions; a list of one case, such as 001, is text."""
        path = self.existing(self.root / "scores" / pair.model / f"{pair.set}_convention_ranks.csv")
        names = ("label", "kind", "convention", "metric", "unit", "study_convention", "study_metric", "note")
        text = (*names, "entering", "leaving", "leaving_unranked")
        return read_table(path, text)

    def jobs(self) -> pd.DataFrame:
        """Return what the jobs of every rule took, and which rules they read from."""
        return self.table("report", "jobs.csv")

    def curves(self, model: str, fold: int) -> pd.DataFrame:
        """Return the curves of a trained fold."""
        return self.table("models", model, f"fold_{fold}", "curves.csv")

    @cached_property
    def folds(self) -> dict[str, list[dict[str, Any]]]:
        """Manifests of the trained folds, by model."""
        folder = self.root / "models"
        return {
            model: [read_fold(folder / model / f"fold_{fold}" / "manifest.json") for fold in range(folds)]
            for model, folds in self.trained.items()
        }

    def planted(self, cohort: str) -> dict[str, str]:
        """Return case to kind of planted difficulty (empty where none) for a cohort of phantoms, nothing for others."""
        if self.study["cohorts"][cohort]["dataset"] != "phantom":
            return {}
        table = self.cohort_table(cohort, "phantom")
        return dict(zip(table["case_id"], table["planted"].fillna("").astype(str), strict=True))

    # ---- words

    def dated(self) -> str:
        """Return when the newest fold was trained; without one, when the newest scores were written."""
        if finished := [fold["finished_at"] for folds in self.folds.values() for fold in folds if fold.get("finished_at")]:
            return f"last training finished {day(max(map(datetime.fromisoformat, finished)))}"
        files = [self.root / "scores" / pair.model / f"{pair.set}.csv" for pair in self.pairs]
        if times := [path.stat().st_mtime for path in files if path.exists()]:
            return f"newest scores written {day(datetime.fromtimestamp(max(times), UTC))}"
        return ""

    def models(self) -> list[str]:
        """Return the names of all models and ensembles."""
        return [*self.study["models"], *self.study["ensembles"]]

    def model_words(self, name: str) -> str:
        """Return in words what a model or an ensemble is."""
        if ensemble := self.study["ensembles"].get(name):
            return self.ensemble_words(ensemble)
        model = self.study["models"][name]
        if "archive" in model:
            return f"imported from {Path(model['archive']).name}, not trained here"
        if name not in self.trained:
            return "precomputed predictions, not trained here"
        channels = join_words(CHANNEL_NAMES[channel] for channel in model["channels"])
        way = f"by the trainer {trainer_name(model)}" if model["trainer"] else f"of {count(model['epochs'], 'epoch')}"
        network = f"{NETWORK_WORDS[model['network']]} {model['configuration']}"
        by = f" by {model['folds_by']}" if model["folds_by"] else ""
        return f"{network} on {channels}, {count(model['folds'], 'fold')}{by} {way}"

    def ensemble_words(self, ensemble: Mapping[str, Any]) -> str:
        """Return in words how an ensemble makes one mask of its members': what is merged from one of them, what of all."""
        merged = join_words(f"{region} from {member}" for region, member in ensemble["merge"].items())
        covered = covers_all(ensemble["merge"], self.study["models"][ensemble["members"][0]]["regions"])
        combined = f"{METHOD_WORDS[ensemble['method']]} {join_words(ensemble['members'])}"
        parts = [*([] if covered else [combined]), *([merged] if merged else [])]
        return f"ensemble, {'; '.join(parts)}" + ("; post-processed" if ensemble["postprocessing"] else "")

    def is_postprocessed(self, name: str) -> bool:
        """Tell whether the masks of a model or an ensemble are cleaned up by steps that the study chose on ``cv``."""
        return bool((self.study["ensembles"].get(name) or self.study["models"][name]).get("postprocessing"))

    def set_words(self, pair: Pair) -> str:
        """Return in words which cases a set holds."""
        folds = self.fold_words(pair.model)
        words = {
            "cv": "out of fold: each training case predicted by the fold that never saw it",
            "test": f"held out: cases that no fold was trained on, predicted by {folds}",
            "given": "precomputed masks",
        }
        return words.get(pair.set, f"external: all cases of the cohort {pair.cohort}, predicted by {folds}")

    def fold_words(self, name: str) -> str:
        """Return in words which folds of a model predict its sets besides cv; of an ensemble, which of its members'."""
        folds = self.study["models"].get(name, {}).get("prediction_folds")
        if not folds:
            return "all folds together" if name in self.study["models"] else "its members"
        return f"fold {folds[0]}" if len(folds) == 1 else f"the folds {join_words(map(str, folds))} together"


def trainer_name(model: Mapping[str, Any]) -> str:
    """Return the name of the class that a model with a custom trainer is trained with."""
    return str(model["trainer"]).rpartition(":")[2]
