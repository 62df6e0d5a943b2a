"""A data set without a path is fetched: the registry of a copied checkout points at a web site on this machine."""

import hashlib
import tarfile

import pytest
import yaml
from miniatures import make_miniature
from websites import Page, Site
from workflows import copy_checkout, planned_jobs, snakemake

from glioflow.cohorts.manifests import read_manifest


@pytest.fixture(scope="module")
def fetching(tmp_path_factory):
    """A checkout whose registry has a small Task01 on a local web site, and a study that fetches it."""
    root = tmp_path_factory.mktemp("fetching")
    make_miniature("msd_task01", root / "site")
    with tarfile.open(root / "Task01_BrainTumour.tar", "w") as tar:
        tar.add(root / "site/Task01_BrainTumour", "Task01_BrainTumour")
    content = (root / "Task01_BrainTumour.tar").read_bytes()
    site = Site()
    site.pages["/Task01_BrainTumour.tar"] = Page(content, cuts=[len(content) // 2])
    checkout = copy_checkout(root / "glioflow")
    registry = checkout / "config/datasets.yaml"
    entries = yaml.safe_load(registry.read_text())
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    entries["msd_task01"]["archives"] = [
        {"url": site.url("/Task01_BrainTumour.tar"), "name": "Task01_BrainTumour.tar", "checksum": checksum}
    ]
    entries["msd_task01"]["cases"] = 6
    registry.write_text(yaml.safe_dump(entries))
    study = {
        "results": str(root / "results"),
        "data": str(root / "data"),
        "cohorts": {"msd": {"dataset": "msd_task01"}},
        "models": {"m": {"cohort": "msd", "folds": 2}},
        "failure": {"extremes": 2},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    yield root, checkout, site
    site.close()


def test_a_study_is_planned_before_its_data_are_there(fetching):
    root, checkout, _ = fetching
    jobs = planned_jobs(snakemake(checkout, "-n", "--configfile", str(root / "study.yaml")))
    assert jobs["fetch_dataset"] == jobs["convert_cohort"] == 1
    assert jobs["score_cases"] == 1


def test_the_archive_is_fetched_unpacked_and_goes_through_to_the_split(fetching):
    root, checkout, site = fetching
    run = snakemake(checkout, "--configfile", str(root / "study.yaml"), "--", "cohorts")
    assert run.returncode == 0, run.stdout
    assert len(site.hits) == 2, "the broken transfer was to go on where it stopped"
    assert (root / "data/msd_task01-2.0/Task01_BrainTumour/dataset.json").exists()
    assert not list((root / "data").rglob("*.tar"))
    manifest = read_manifest(root / "results/cohorts/msd/manifest.csv")
    assert len(manifest) == 6
    assert manifest["label"].str.contains("/cohorts/msd/labels/").all()
    assert manifest["t1ce"].str.contains("/cohorts/msd/converted/").all()


def test_nothing_is_fetched_or_converted_again(fetching):
    root, checkout, site = fetching
    before = len(site.hits)
    assert planned_jobs(snakemake(checkout, "-n", "--configfile", str(root / "study.yaml"), "--", "cohorts")) == {}
    study = yaml.safe_load((root / "study.yaml").read_text())
    (root / "other.yaml").write_text(yaml.safe_dump({**study, "results": str(root / "other")}))
    fetched = root / "other/cohorts/msd/fetched.json"
    run = snakemake(checkout, "--configfile", str(root / "other.yaml"), "--", str(fetched))
    assert run.returncode == 0, run.stdout
    assert fetched.exists()
    assert len(site.hits) == before, "another study takes what is there"


def test_more_or_fewer_cases_than_the_registry_says_are_planned_anew(fetching):
    root, checkout, _ = fetching
    registry = checkout / "config/datasets.yaml"
    before = registry.read_text()
    entries = yaml.safe_load(before)
    entries["msd_task01"]["cases"] = 120
    registry.write_text(yaml.safe_dump(entries))
    study = yaml.safe_load((root / "study.yaml").read_text())
    truths = root / "site/Task01_BrainTumour/labelsTr"
    given = {"cohort": "msd", "predictions": f"{truths}/{{case}}.nii.gz", "label_scheme": "msd_task01"}
    study |= {"results": str(root / "counts"), "data": str(root / "counted"), "models": {"m": given}, "failure": False}
    (root / "counts.yaml").write_text(yaml.safe_dump(study))
    command = ("--configfile", str(root / "counts.yaml"), "--", str(root / "counts/scores/m/given_summary.csv"))
    assert planned_jobs(snakemake(checkout, "-n", *command))["score_cases"] == 3
    run = snakemake(checkout, *command)
    assert run.returncode == 0, run.stdout
    assert "6 cases, 18 rows" in run.stdout
    assert [path.name for path in sorted((root / "counts/scores/m/given_shards").glob("*.csv"))] == ["1-of-1.csv"]
    assert planned_jobs(snakemake(checkout, "-n", *command)) == {}
    registry.write_text(before)


@pytest.mark.parametrize("status", [401, 404])
def test_an_answer_that_is_final_is_not_asked_for_again(fetching, status):
    root, checkout, site = fetching
    study = yaml.safe_load((root / "study.yaml").read_text())
    study |= {"results": str(root / f"results{status}"), "data": str(root / f"data{status}")}
    (root / "final.yaml").write_text(yaml.safe_dump(study))
    site.pages["/Task01_BrainTumour.tar"].statuses = [status]
    before = len(site.hits)
    run = snakemake(checkout, "--configfile", str(root / "final.yaml"), "--", f"{study['results']}/cohorts/msd/fetched.json")
    assert run.returncode != 0
    assert f"({status} " in run.stdout
    assert len(site.hits) == before + 1


def test_a_gated_data_set_says_where_to_go_and_where_to_put_it(fetching):
    root, checkout, _ = fetching
    study = yaml.safe_load((root / "study.yaml").read_text())
    study["cohorts"]["gli"] = {"dataset": "brats2023_gli", "external": True}
    (root / "gated.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "-n", "--configfile", str(root / "gated.yaml"), SYNAPSE_AUTH_TOKEN="")
    assert run.returncode != 0
    assert "cohorts.gli.path: missing; BraTS 2023 adult glioma, training set (brats2023_gli): read https://" in run.stdout
    assert "SYNAPSE_AUTH_TOKEN" in run.stdout
    assert str(root / "data/brats2023_gli-2023") in run.stdout
    assert "Traceback" not in run.stdout
