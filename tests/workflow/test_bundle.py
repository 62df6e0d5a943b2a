"""A study's bundle, from the run to the stranger: valid, verifiable, private, reproducible, to be run again."""

import csv
import gzip
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from bundles import CASES, DATES, PLANTED, build_bundle_study, other_bundle, rewrite, with_checksums
from crates import issues_of
from workflows import planned_jobs, snakemake

import rerun_from_bundle
import verify_bundle
from glioflow.bundle.zip_files import CHECKSUMS, checksum_problems
from glioflow.console import Console, UserError

PROFILES = ("provenance-run-crate", "workflow-ro-crate")
EFFECTS = "results/scores/m/given_summary.csv"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    return build_bundle_study(tmp_path_factory)


@pytest.fixture(scope="module")
def bundle(checkout) -> Path:
    return checkout / "results/bundle/mini-1.0.0.zip"


@pytest.fixture(scope="module")
def pseudonymised(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pseudonyms") / "glioflow"
    block = {"pseudonymise": True, "pictures": False, "pseudonym_key": str(folder.parent / "key"), "images": True}
    return other_bundle(checkout, folder, **block)


def contents(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def unpacked(name: str, content: bytes) -> bytes:
    return gzip.decompress(content) if name.endswith(".gz") else content


# ---- valid


@pytest.mark.parametrize("profile", PROFILES)
def test_it_is_a_valid_crate(bundle, profile, tmp_path, monkeypatch):
    assert issues_of(bundle, profile, tmp_path / "cache", monkeypatch) == []


def test_a_crate_whose_job_has_no_script_is_none(bundle, tmp_path, monkeypatch):
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b'"workExample"', b'"other"') if name == "ro-crate-metadata.json" else content

    broken = rewrite(bundle, tmp_path / "broken.zip", change)
    assert issues_of(broken, PROFILES[0], tmp_path / "cache", monkeypatch) != []


def test_every_job_has_its_script_inputs_outputs_params_and_times(bundle):
    graph = json.loads(contents(bundle)["ro-crate-metadata.json"])["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    (job,) = [entity for entity in graph if entity.get("name") == "associate_features m given"]
    assert job["instrument"] == {"@id": "workflow/scripts/associate_features.py"}
    ids = [part["@id"] for part in job["object"]]
    assert "results/failure/m/given/extremes.csv" in ids and job["startTime"] <= job["endTime"]
    assert "results/failure/m/given/radiomics.csv" in [part["@id"] for part in job["result"]]
    assert {"code"} <= {entities[part]["name"] for part in ids if part.startswith("#param")}


# ---- verifiable


@pytest.mark.long
def test_it_verifies_and_is_made_again_to_the_byte(bundle, capsys):
    assert verify_bundle.main([str(bundle), "--recompute"]) == 0
    told = capsys.readouterr()
    assert "all is as it was written" in told.out and "compared byte for byte" in told.err


@pytest.mark.long
def test_scores_and_features_are_made_again_from_the_users_own_data(bundle, checkout, capsys):
    assert verify_bundle.main([str(bundle), "--data", str(checkout.parent / "home")]) == 0
    assert verify_bundle.main([str(bundle), "--data", str(checkout / "config")]) == 2
    assert "no file below" in capsys.readouterr().err


def test_one_byte_of_any_file_is_named(bundle, tmp_path):
    def flip(name: str, content: bytes) -> bytes:
        middle = len(content) // 2
        return content if name == CHECKSUMS else content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    filled = {name for name, content in contents(bundle).items() if content}
    flipped = rewrite(bundle, tmp_path / "flipped.zip", lambda name, content: flip(name, content) if content else content)
    named = {line.partition(":")[0] for line in checksum_problems(flipped, Console())}
    assert named == filled - {CHECKSUMS} and len(named) > 100


def test_one_byte_of_the_list_of_checksums_is_named(bundle, tmp_path):
    content = contents(bundle)[CHECKSUMS]
    for place in range(0, len(content), len(content) // 40):
        other = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        target = rewrite(bundle, tmp_path / "list.zip", lambda name, old, other=other: other if name == CHECKSUMS else old)
        try:
            assert checksum_problems(target, Console())
        except UserError as error:
            assert CHECKSUMS in str(error)


def test_a_changed_cell_a_swapped_figure_and_a_changed_page_are_named(bundle, tmp_path, capsys):
    files = contents(bundle)
    rows = list(csv.reader(io.StringIO(files[EFFECTS].decode())))
    column = rows[0].index("mean")
    former, rows[2][column] = rows[2][column], "0.125"
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    figures = [f"results/failure/{model}/given/associations.png" for model in "mn"]
    changed = {
        EFFECTS: table.getvalue().encode(),
        figures[0]: files[figures[1]],
        "results/report/index.html": files["results/report/index.html"].replace(b"worst cases", b"worst  cases", 1),
    }
    target = with_checksums(bundle, tmp_path / "changed.zip", changed)
    assert verify_bundle.main([str(target)]) == 0, "its checksums are those of a forger"
    assert verify_bundle.main([str(target), "--recompute"]) == 1
    told = capsys.readouterr().out
    assert f"{EFFECTS}: row 2 " in told
    assert re.search(rf"column mean: the bundle has '0\.125', made again it is '{re.escape(former)}'", told)
    assert f"{figures[0]}: byte " in told and "results/report/index.html: line " in told


def test_code_that_is_not_this_checkouts_is_not_run_unasked(bundle, tmp_path, capsys):
    name = "workflow/scripts/compare_models.py"
    evil = b"import pathlib; pathlib.Path('/tmp/ran').touch()\n"
    target = with_checksums(bundle, tmp_path / "other.zip", {name: evil})
    assert verify_bundle.main([str(target), "--recompute"]) == 2
    assert "compare_models.py" in capsys.readouterr().err


# ---- private


def test_nothing_planted_leaves(bundle, checkout):
    texts = [*PLANTED, str(checkout), str(checkout.parent), str(Path.home()) + "/"]
    found = [
        (text, name)
        for name, content in contents(bundle).items()
        for text in texts
        if text.encode() in unpacked(name, content) or text in name
    ]
    assert found == []


def test_only_listed_covariates_go_along(bundle):
    header = contents(bundle)["results/cohorts/c/manifest.csv"].decode().splitlines()[0].split(",")
    assert {"grade", "seen"} <= set(header) and not {"mrn", "birth", "physician"} & set(header)
    assert b"physician" not in contents(bundle)["results/report/index.html"]


@pytest.mark.long
def test_volumes_of_the_reports_viewer_go_along_with_images_alone(bundle, pseudonymised, checkout):
    packed = {path.name for path in (checkout / "results/report/viewer/m/given").glob("*.js")}
    assert len(packed) == 4
    for made, expected in ((bundle, set()), (pseudonymised, packed)):
        files = contents(made)
        place = "results/report/viewer/m/given/"
        assert {name.removeprefix(place) for name in files if name.startswith(place) and name.endswith(".js")} == expected
        assert (b'<button type="button" class="turn"' in files["results/report/index.html"]) == bool(expected)
        assert "results/report/viewer/niivue.js" in files


@pytest.mark.long
def test_pseudonyms_take_the_place_of_every_id_and_dates_move(pseudonymised, checkout):
    files = contents(pseudonymised)
    ids = [*CASES, *(case.partition("_")[0] for case in CASES)]
    planted = [*ids, *PLANTED, *DATES]
    assert [
        (text, name) for name, content in files.items() for text in planted if text.encode() in unpacked(name, content)
    ] == []
    assert [name for name in files if any(text in name for text in planted)] == []
    assert any(name.startswith("inputs/c/P") and name.endswith("_flair.nii.gz") for name in files)
    rows = list(csv.DictReader(io.StringIO(files["results/cohorts/c/manifest.csv"].decode())))
    assert all(re.fullmatch(r"P[0-9a-f]{12}", row["patient_id"]) for row in rows)
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["seen"]) for row in rows)
    key = (checkout.parent, pseudonymised.parents[3] / "key")[1].read_text().strip().encode()
    assert key and all(key not in content for content in files.values())


@pytest.mark.long
def test_a_pseudonymised_bundle_verifies_as_well(pseudonymised, checkout):
    assert verify_bundle.main([str(pseudonymised), "--recompute"]) == 0


# ---- reproducible


@pytest.mark.long
def test_the_same_results_give_the_same_bytes_elsewhere(bundle, checkout, tmp_path):
    target = tmp_path / "elsewhere/glioflow"
    left = target / "results/bundle/.mini-1.0.0.building/crate"
    again = other_bundle(checkout, target)
    assert again.read_bytes() == bundle.read_bytes()
    assert not left.exists() and [path.name for path in again.parent.iterdir() if path.is_file() and path.suffix == ".zip"] == [
        again.name
    ]


# ---- to be run again


def test_it_is_laid_out_to_run_again_on_the_same_data(bundle, checkout, tmp_path, capsys):
    folder = tmp_path / "again"
    assert rerun_from_bundle.main([str(bundle), str(folder), "--data", str(checkout.parent / "home")]) == 0
    assert yaml.safe_load((folder / "study.yaml").read_text())["cohorts"]["c"]["path"] == "inputs/c"
    jobs = planned_jobs(snakemake(folder, "-n", "--configfile", "study.yaml"))
    assert jobs["score_cases"] == 2 and jobs["write_report"] == jobs["write_bundle"] == 1
    assert rerun_from_bundle.main([str(bundle), str(folder)]) == 2
    assert "holds something already" in capsys.readouterr().err


def test_what_is_missing_or_other_is_listed(bundle, checkout, tmp_path, capsys):
    data = tmp_path / "data"
    for path in sorted((checkout.parent / "home").rglob("*.*")):
        if path.is_file() and path.name != f"{CASES[0]}_t1.nii.gz":
            (data / path.name).parent.mkdir(exist_ok=True)
            (data / f"{path.parent.name}_{path.name}").write_bytes(path.read_bytes())
    assert rerun_from_bundle.main([str(bundle), str(tmp_path / "again"), "--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert f"inputs/c/{CASES[0]}/{CASES[0]}_t1.nii.gz: no file below" in told and "1 file of the study missing" in told


def test_without_the_block_asking_for_a_bundle_says_what_is_missing(checkout, tmp_path):
    study = yaml.safe_load((checkout / "study.yaml").read_text())
    del study["bundle"]
    (checkout / "none.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "-n", "--configfile", "none.yaml", "--", "bundle")
    assert run.returncode != 0 and "bundle: missing; name at least `name` and `licence`" in run.stdout
    assert "write_bundle" not in planned_jobs(snakemake(checkout, "-n", "--configfile", "none.yaml", "--", "all"))
