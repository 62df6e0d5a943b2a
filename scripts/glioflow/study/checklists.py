"""The checklists of config/checklists: the items of a published list, and what of a study's files answers each."""

from functools import cache
from typing import Any, Self

from pydantic import Field, model_validator

from glioflow.files import key_of
from glioflow.study.registry import Entry, read_registry

CHECKLISTS = ("metrics", "clear")


class Evidence(Entry):
    """What a study's configuration or its tables must hold: one of key, table, fold, sets, dataset and package."""

    key: str | None = Field(None, description="Key of the configuration that must have a value other than false or none.")
    equals: Any = Field(None, description="With `key`: the value that it must have.")
    empty: bool = Field(False, description="With `key`: it must have no value instead.")
    table: str | None = Field(
        None,
        description="Table below the results folder with a row that counts: `{cohort}`, of any cohort; `{scored}`, "
        "`{analysed}`: of every set that is scored or analysed.",
    )
    column: str | None = Field(None, description="With `table`: the column that must have a value.")
    where: dict[str, str] = Field({}, description="With `table`: values that the row must have in other columns.")
    columns: list[str] = Field([], description="With `table`: in place of `column`, any of these.")
    distinct: int = Field(1, ge=1, description="With `table`: so many different values, in one of the tables.")
    fold: str | None = Field(None, description="Part of every trained fold's manifest.")
    sets: str | None = Field(None, description="A set that must be scored: `test`, or `external` for a cohort not trained on.")
    dataset: str | None = Field(None, description="What the registry must say of the data set of every cohort.")
    package: str | None = Field(None, description="Software whose version the report shows.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [name for name in ("key", "table", "fold", "sets", "dataset", "package") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError("exactly one of key, table, fold, sets, dataset and package is right")
        if self.table and not (self.column or self.columns):
            raise ValueError("a table needs a column")
        return self


class Item(Entry):
    """An item of a checklist: by files where ``evidence`` names them, all of which must hold; else by the authors."""

    name: str = Field(description="What it asks for, in this project's own words.")
    weight: float | None = Field(None, description="Its share of the list's score.")
    section: str = Field("", description="Anchor of the report's section that shows the answer.")
    shows: str = Field("", description="What the files show.")
    evidence: list[Evidence] = Field([], description="What must hold.")
    authors: str = Field("", description="What the authors have to say, or what helps them to.")

    @model_validator(mode="after")
    def _told(self) -> Self:
        if bool(self.evidence) != bool(self.shows and self.section):
            raise ValueError("evidence, shows and section belong together")
        return self


class Checklist(Entry):
    """A published checklist."""

    title: str = Field(description="Its name.")
    about: str = Field(description="What it is for, and how sure its items and weights are.")
    reference: str = Field(description="Key of its reference.")
    source: str = Field(description="Where it was read.")
    items: dict[int, Item] = Field(description="The items by number.")


@cache
def checklists() -> dict[str, Checklist]:
    """Return the checklists by name. Raises UserError where a file does not fit."""
    return {name: read_registry(f"checklists/{name}.yaml", Checklist) for name in CHECKLISTS}


def checklists_hash() -> str:
    """Return the content hash of the checklists."""
    return key_of({name: checklist.model_dump() for name, checklist in checklists().items()})
