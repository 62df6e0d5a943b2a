"""The table of features: a row for each case, image and region."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from glioflow.files import PathLike, read_table
from glioflow.shards import require_each_once

KEYS = ("case_id", "image", "region")
HEAD = ("case_id", "patient_id", "image", "mask", "region", "grey_levels")


def features_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """Return the table of rows that have the columns ``HEAD``, ``features`` (name to value) and ``note``."""
    head = pd.DataFrame([{column: row[column] for column in HEAD} for row in rows], columns=list(HEAD))
    head["grey_levels"] = head["grey_levels"].astype("Int64")
    features = pd.DataFrame([row["features"] for row in rows], columns=list(names), dtype=float)
    notes = pd.Series([row["note"] or pd.NA for row in rows], name="note", dtype="string")
    return pd.concat([head, features, notes], axis=1)


def gather_variants(paths: Sequence[PathLike], shown: Collection[tuple[str, str, str]]) -> pd.DataFrame:
    """Return the rows of the tables of ``vary_features``.

    Raises ``UserError`` unless they hold each case, image and region of ``shown`` once in each variant, and nothing else.
    """
    shards = [read_table(path) for path in paths]
    table = pd.concat([shard for shard in shards if len(shard)] or shards, ignore_index=True)
    twice = set(table["case_id"][table.duplicated([*KEYS, "variant"])])
    found = [" ".join(row) for row in dict.fromkeys(table[list(KEYS)].itertuples(index=False, name=None))]
    needed = [" ".join(row) for row in shown]
    require_each_once(found, needed, needed, twice, paths)
    return table


def primary_rows(radiomics: pd.DataFrame) -> pd.DataFrame:
    """Return a row a case: of the image and the region that come first, which sentences are of."""
    if radiomics.empty:
        return radiomics
    first = radiomics.iloc[0]
    chosen = (radiomics["image"] == first["image"]) & (radiomics["region"] == first["region"])
    return radiomics[chosen].reset_index(drop=True)


def mark_unstable(table: pd.DataFrame, stability: pd.DataFrame | None) -> pd.DataFrame:
    """Return a table of features (image, region, feature) with the column ``unstable``: those that ``stability.csv`` calls so.

    ``stability``: None where it was not measured; then none is marked.
    """
    names = ["image", "region", "feature"]
    measured = [] if stability is None else stability.loc[stability["stable"].eq(False), names].itertuples(index=False)
    unstable = set(map(tuple, measured))
    return table.assign(unstable=[tuple(row) in unstable for row in table[names].itertuples(index=False)])
