"""What a reader of a set's features should know: their grey levels, and how firm they are where that was measured."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.failure.icc import ENOUGH_CASES, GOOD
from glioflow.failure.radiomics import GREY_LEVELS
from glioflow.failure.radiomics_table import primary_rows
from glioflow.formatting import number
from glioflow.report.missing_channels import channel_name
from glioflow.report.plotting import FEATURE_GROUP_NAMES
from glioflow.report.source import Pair, Source
from glioflow.report.tables import join_words


def features_words(failure: Mapping[str, Any]) -> str:
    """Return what the features are of, for the definitions."""
    images = [failure["image"]] if isinstance(failure["image"], str) else failure["image"]
    regions = failure["feature_regions"] or [failure["region"]]
    place = f"in the {failure['mask']} mask of {join_words(regions)} on {join_words(map(channel_name, images))}"
    if failure["radiomics"]:
        return f"{place}, images, features and settings by the parameter file {failure['radiomics']}"
    normalised = "normalised over the image (mean 0, standard deviation 100)" if failure["normalise"] else "not normalised"
    return f"{place}, all classes of the original image, {normalised}, bin width {failure['bin_width']:g}"


def feature_notes(source: Source, pair: Pair) -> list[str]:
    """Return sentences on the features of a set."""
    failure, radiomics = source.study["failure"], source.failure(pair, "radiomics")
    notes = [*grey_level_sentences(radiomics)]
    if failure["stability"]:
        notes += [stability_sentence(source.failure(pair, "stability"))]
    if failure["binning"]:
        notes += [binning_sentence(source.failure(pair, "binning"))]
    return notes


def grey_level_sentences(radiomics: pd.DataFrame) -> Iterator[str]:
    """Yield, of each image and region, how many cases have an unusual number of grey levels."""
    fewest, most = GREY_LEVELS
    for (region, image), rows in radiomics.groupby(["region", "image"], sort=False):
        levels = rows["grey_levels"].dropna().astype(int)
        unusual = levels[(levels < fewest) | (levels > most)]
        if len(unusual):
            span = f"{unusual.min()}" if unusual.nunique() == 1 else f"{unusual.min()} to {unusual.max()}"
            have = f"{len(unusual)} of {count(len(levels), 'case')} {'has' if len(unusual) == 1 else 'have'}"
            yield (
                f"{have} {span} grey levels in {region} in {image}, where {fewest} to {most} are usual: with few, textures "
                "differ little between cases; with many, they follow noise. The bin width decides it."
            )


def stability_sentence(stability: pd.DataFrame) -> str:
    """Return how many of the features that are shown are stable, and which classes the others are of."""
    shown = primary_rows(stability)
    unstable = shown[shown["stable"].eq(False)]
    classes = unstable["feature_group"].value_counts(sort=False)
    groups = join_words(f"{rows} of {FEATURE_GROUP_NAMES.get(group, group)}" for group, rows in classes.items())
    others = f"; not {groups}" if groups else ""
    few = f" Below {ENOUGH_CASES} cases such a number is rough." if shown["n"].max() < ENOUGH_CASES else ""
    stable, cases = int(shown["stable"].eq(True).sum()), count(int(shown["n"].max()), "case")
    return (
        f"{stable} of {len(shown)} features are stable when the mask is eroded or dilated by a voxel or noise is added "
        f"(ICC(2,1) of {number(GOOD, 2)} or more, over {cases}){others}. All are in stability.csv.{few}"
    )


def binning_sentence(binning: pd.DataFrame) -> str:
    """Return how far other bins, or the other normalisation, change the order of the cases."""
    shown = primary_rows(binning).dropna(subset=["rho_median"])
    others = shown[shown["note"].isna()]
    if others.empty:
        return "How much the bin width matters cannot be told: no feature varies in enough cases."
    own = bool(shown.loc[shown["note"].notna(), "normalise"].iloc[0])
    parts = [
        f"{number(float(rows['rho_median'].min()), 2)} with {words}"
        for words, rows in (
            ("half or twice the bins' width", others[others["normalise"] == own]),
            (f"images {'as they are' if own else 'normalised'}", others[others["normalise"] != own]),
        )
        if len(rows)
    ]
    return (
        f"Over the cases, the features' values keep their order to a rank correlation of {join_words(parts)} (the median "
        "of the class that keeps it least; 1 is the same order). All are in binning.csv."
    )
