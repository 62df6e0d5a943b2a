"""docs/metrics.md defines every column of the score tables, and none that there is not."""

import re
from itertools import chain

from conftest import REPO

from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import DEFECTS, lesion_columns
from glioflow.evaluation.metrics import metric_columns
from glioflow.evaluation.scoring import Plan
from summarise_scores import GROUP_COLUMNS

PAGE = (REPO / "docs/metrics.md").read_text(encoding="utf-8")


def defined_in(*sections: str) -> list[str]:
    """Return the names in the first column of the tables of sections, in their order."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    firsts = chain.from_iterable(re.findall(r"^\| (`.*?) \|", texts[section], re.MULTILINE) for section in sections)
    return [name for first in firsts for name in re.findall(r"`([^`]+)`", first)]


def written(columns: list[str]) -> list[str]:
    """Return columns as the page writes them: a tolerance is <t>."""
    return [re.sub(r"nsd_[\d.]+mm", "nsd_<t>mm", column) for column in columns]


def test_every_metric_is_defined_once() -> None:
    defined = defined_in("From counts of voxels", "Distances", "Volumes", "Components")
    assert len(defined) == len(set(defined))
    for convention in conventions().values():
        assert set(written(metric_columns(convention))) <= set(defined), convention.name
    assert set(defined) == {*chain.from_iterable(written(metric_columns(one)) for one in conventions().values())}


def test_every_lesion_wise_column_is_defined_once() -> None:
    defined = defined_in("Lesions")
    assert len(defined) == len(set(defined))
    assert set(defined) == {*chain.from_iterable(written(lesion_columns(one, list(DEFECTS))) for one in conventions().values())}


def test_all_other_columns_are_defined() -> None:
    told = set(defined_in("Which row it is"))
    plan = Plan(["WT"], conventions()["glioflow"])
    assert told == set(plan.columns) - set(metric_columns(plan.convention))
    assert defined_in("Summaries") == list(GROUP_COLUMNS)
