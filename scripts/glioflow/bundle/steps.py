"""The jobs that a study's results are made of, as the records beside its outputs tell them (``glioflow.job_records``).

A bundle is made from these records alone: which files there are, what each was made from, by which rule, with which params and
when. No list of files is kept anywhere else. In a step every path below the results folder begins with ``results/``, wherever
the folder is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from glioflow.benchmarks import benchmark_path
from glioflow.console import UserError
from glioflow.files import read_json
from glioflow.job_records import record_path

RESULTS = "results"
# Where results are that are made from images; what is elsewhere follows from tables, unless a table of masks is read.
FROM_IMAGES = ("cohorts", "models", "predictions", "postprocessed")
MASKS = "predictions.csv"
JOBS = f"{RESULTS}/report/jobs.csv"  # told by benchmarks and records, which do not go along
Pairs = list[list[Any]]  # a name, or None, and a value


@dataclass(frozen=True)
class Step:
    """A finished job: its rule, wildcards, inputs, outputs, params and log as pairs of name and value; times in UTC."""

    rule: str
    wildcards: Pairs
    input: Pairs
    output: Pairs
    params: Pairs
    log: Pairs
    started: str
    ended: str
    kept: bool = False  # whether its outputs go along as they are, though they follow from tables

    @property
    def name(self) -> str:
        """The rule and the wildcards' values."""
        return " ".join([self.rule, *(str(value) for _, value in self.wildcards)])

    @property
    def inputs(self) -> list[str]:
        """All input files."""
        return list(flat(self.input))

    @property
    def outputs(self) -> list[str]:
        """All output files."""
        return list(flat(self.output))

    @property
    def benchmarks(self) -> list[str]:
        """The files in which Snakemake noted what the job took; a job without a log has none."""
        return [benchmark_path(name) for name in flat(self.log)]

    @property
    def is_upstream(self) -> bool:
        """Tell whether the job makes a part of a cohort, a model or a set of masks."""
        return any(Path(path).parts[1:2] and Path(path).parts[1] in FROM_IMAGES for path in self.outputs)

    @property
    def makes_manifest(self) -> bool:
        """Tell whether the job checks a cohort's images and labels, and writes labels for the others to read."""
        return any(Path(path).match("cohorts/*/manifest.csv") for path in self.outputs)

    @property
    def reads_records(self) -> bool:
        """Tell whether the job tells of the other jobs, and so cannot be run again where they were not."""
        return JOBS in self.outputs

    @property
    def reads_images(self) -> bool:
        """Tell whether the job follows from images, not from tables alone."""
        return self.is_upstream or self.reads_masks

    @property
    def reads_masks(self) -> bool:
        """Tell whether a table of masks is among the inputs, and the job scores or measures what it lists."""
        return any(Path(path).name == MASKS for path in self.inputs)

    def described(self) -> dict[str, Any]:
        """Return the step for JSON."""
        return asdict(self)


def keep_what_images_need(steps: Sequence[Step]) -> list[Step]:
    """Return the steps, those marked as kept whose outputs a step reads that measures masks, such as the choice of extremes.

    Equal scores are put in order by the cases' ids. Under pseudonyms that order is another one, and what was measured in the
    images of the chosen cases could not follow it.
    """
    read = {path for step in steps if step.reads_masks for path in step.inputs}
    return [replace(step, kept=not step.reads_images and bool(read & set(step.outputs))) for step in steps]


def flat(pairs: Pairs) -> Iterator[str]:
    """Yield the values of pairs, and of the lists among them, as text."""
    for _, value in pairs:
        yield from map(str, value if isinstance(value, list) else [value])


def present(path: str, results: Path) -> Path:
    """Return where a file of a step is now."""
    return results / path.removeprefix(f"{RESULTS}/") if path.startswith(f"{RESULTS}/") else Path(path)


def collect_steps(results: Path, targets: Iterable[str]) -> list[Step]:
    """Return the steps that the files ``targets`` were made by, and those that their inputs were made by, makers first.

    Raises
    ------
    UserError
        Where an output has no record of its job, as those of an older glioflow.
    """
    steps: dict[str, Step | None] = {}

    def visit(path: str) -> None:
        file = present(path, results)
        if not path.startswith(f"{RESULTS}/") or not record_path(file).exists():
            return
        step = read_step(file, results)
        if step.name in steps:
            return
        steps[step.name] = None
        for source in sorted(step.inputs):
            visit(source)
        steps[step.name] = steps.pop(step.name) or step

    for target in sorted(targets):
        visit(f"{RESULTS}/{Path(target).relative_to(results).as_posix()}")
    return [step for step in steps.values() if step]


def read_step(output: Path, results: Path) -> Step:
    """Return the step that made a file of the results folder. Raises UserError where its record does not tell."""
    record = read_json(record_path(output))
    if "job" not in record:
        raise UserError(
            f"{output}: its record does not name its job; an older glioflow made it. Run once with --forcerun and the rule's "
            "name (a trained fold is recorded again, and not trained)"
        )
    former = record["output"].removesuffix(output.relative_to(results).as_posix()).rstrip("/")
    job = {key: _moved(value, former) for key, value in record["job"].items()}
    return Step(**job)


def _moved(value: Any, former: str) -> Any:
    """Return a value of a record with the former results folder called ``results``."""
    if isinstance(value, str):
        return RESULTS + value[len(former) :] if value == former or value.startswith(f"{former}/") else value
    if isinstance(value, list):
        return [_moved(each, former) for each in value]
    return {key: _moved(each, former) for key, each in value.items()} if isinstance(value, Mapping) else value
