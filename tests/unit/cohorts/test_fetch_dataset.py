"""Fetching a data set into the shared folder: once, whole, and only what the registry says."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websites import Page, Site, wait_for

import fetch_dataset as script
from fetch_dataset import fetch_dataset
from glioflow.cohorts.access import can_fetch, how_to_get
from glioflow.console import Console, UserError
from glioflow.study.registry import Dataset, datasets

FILES = {f"BraTS_{number}/BraTS_{number}_t1.nii.gz": os.urandom(50_000) for number in range(4)}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


ZIP = zipped(FILES)
MD5 = f"md5:{hashlib.md5(ZIP).hexdigest()}"
SHA = f"sha256:{hashlib.sha256(ZIP).hexdigest()}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.pages["/train.zip"] = Page(ZIP)
    yield site
    site.close()


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path / "log.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gliomas-1"


def dataset(*archives: dict[str, Any], **more: Any) -> Dataset:
    entry = {
        "title": "Gliomas", "version": "1", "source": "https://example.org/gliomas", "access": "open", "licence": "CC BY 4.0",
        "citation": "Nobody 2026", "layout": "patterns", "archives": list(archives),
    }  # fmt: skip
    return Dataset.model_validate(entry | more)


def archive(site: Site, checksum: str | None = MD5, **more: Any) -> dict[str, Any]:
    return {"url": site.url("/train.zip"), "name": "train.zip", "checksum": checksum} | more


def held(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "fetched.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def beside(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()} - {folder.name, f".{folder.name}.lock"}


def test_a_data_set_is_fetched_checked_unpacked_and_recorded(site: Site, folder: Path, console: Console) -> None:
    record = fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    assert held(folder) == FILES
    assert json.loads((folder / "fetched.json").read_text()) == record
    assert record["archives"] == [
        {"name": "train.zip", "url": site.url("/train.zip"), "sha256": SHA[7:], "md5": MD5[4:], "bytes": len(ZIP)}
    ]
    assert (record["key"], record["version"], record["folder"], record["files"]) == ("gliomas", "1", str(folder), 4)
    assert not record["by_hand"]
    assert beside(folder) == set()


def test_the_script_writes_the_record_where_the_rule_wants_it(site: Site, folder: Path, console: Console) -> None:
    out = folder.parent / "out" / "fetched.json"
    params = SimpleNamespace(key="gliomas", entry=dataset(archive(site)).model_dump(mode="json"), folder=str(folder))
    said = script.main(SimpleNamespace(params=params, output=SimpleNamespace(fetched=str(out))), console)
    assert said == f"Gliomas: 4 files in {folder}"
    assert out.read_bytes() == (folder / "fetched.json").read_bytes()


@pytest.mark.parametrize("checksum", [MD5, SHA, None], ids=["md5", "sha256", "none"])
def test_a_second_run_returns_at_once(site: Site, folder: Path, console: Console, checksum: str | None) -> None:
    first = fetch_dataset("gliomas", dataset(archive(site, None)), folder, console)
    assert fetch_dataset("gliomas", dataset(archive(site, checksum)), folder, console) == first
    assert len(site.hits) == 1


def test_a_checksum_that_nobody_gave_is_told(site: Site, folder: Path, console: Console) -> None:
    fetch_dataset("gliomas", dataset(archive(site, None)), folder, console)
    assert f"train.zip has SHA-256 {SHA[7:]}; the registry has no checksum" in console.log.read_text()


def test_a_folder_fetched_from_other_archives_is_not_taken_for_the_registrys(
    site: Site, folder: Path, console: Console
) -> None:
    fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    with pytest.raises(UserError, match=f"train.zip .md5:{'0' * 32}., fetched was {SHA} and {MD5}. Delete {folder}"):
        fetch_dataset("gliomas", dataset(archive(site, f"md5:{'0' * 32}")), folder, console)
    with pytest.raises(UserError, match=r"names the archive more.zip"):
        fetch_dataset("gliomas", dataset(archive(site), archive(site, name="more.zip")), folder, console)


def test_files_that_went_missing_are_told(site: Site, folder: Path, console: Console) -> None:
    fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    (folder / next(iter(FILES))).unlink()
    with pytest.raises(UserError, match=f"{folder}: found 3 of the 4 files that were fetched. Delete"):
        fetch_dataset("gliomas", dataset(archive(site)), folder, console)


def test_files_put_there_by_hand_are_taken_as_they_are(site: Site, folder: Path, console: Console) -> None:
    (folder / "case").mkdir(parents=True)
    (folder / "case" / "x.nii.gz").write_bytes(b"mine")
    record = fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    assert record["by_hand"]
    assert (record["files"], record["archives"], record["fetched"]) == (1, [], None)
    assert held(folder) == {"case/x.nii.gz": b"mine"}
    assert site.hits == []


def test_an_empty_folder_is_no_data_set(site: Site, folder: Path, console: Console) -> None:
    folder.mkdir(parents=True)
    fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    assert held(folder) == FILES


def test_several_archives_and_plain_files_land_in_one_folder(site: Site, folder: Path, console: Console) -> None:
    site.pages["/clinical.csv"] = Page(b"id,age\n", content_type="text/csv")
    table = {"url": site.url("/clinical.csv"), "name": "clinical.csv"}
    record = fetch_dataset("gliomas", dataset(archive(site), table), folder, console)
    assert held(folder) == {**FILES, "clinical.csv": b"id,age\n"}
    assert record["files"] == 5


def test_a_corrupted_archive_leaves_nothing_behind(site: Site, folder: Path, console: Console) -> None:
    with pytest.raises(UserError, match="does not match the known hash"):
        fetch_dataset("gliomas", dataset(archive(site, f"md5:{'0' * 32}")), folder, console)
    assert not folder.exists()
    assert list((folder.parent / ".gliomas-1.fetching").iterdir()) == []


def test_an_unsafe_archive_leaves_no_folder(site: Site, folder: Path, console: Console) -> None:
    site.pages["/train.zip"] = Page(zipped({"good": b"1", "../evil": b"2"}))
    with pytest.raises(UserError, match=r"train\.zip: \.\./evil"):
        fetch_dataset("gliomas", dataset(archive(site, None)), folder, console)
    assert not folder.exists()
    assert not list(folder.parent.rglob("evil"))


def test_a_refusal_says_how_else_to_get_the_data(site: Site, folder: Path, console: Console) -> None:
    site.pages["/train.zip"].statuses = [403]
    with pytest.raises(UserError, match=f"403.*https://example.org/gliomas.*CC BY 4.0.*unpack it into {folder}"):
        fetch_dataset("gliomas", dataset(archive(site)), folder, console)


SCRIPT = """
import json, sys
from pathlib import Path
from fetch_dataset import fetch_dataset
from glioflow.console import Console
from glioflow.study.registry import Dataset
entry, folder = Dataset.model_validate_json(sys.argv[1]), Path(sys.argv[2])
print(json.dumps(fetch_dataset("gliomas", entry, folder, Console())))
"""


def start(repo: Path, entry: Dataset, folder: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, entry.model_dump_json(), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(repo / "scripts")}
    with log.open("w") as stderr:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_two_processes_at_once_fetch_once(site: Site, folder: Path, tmp_path: Path, repo: Path) -> None:
    site.pages["/train.zip"].stall_after = 100_000
    logs = [tmp_path / "1.log", tmp_path / "2.log"]
    processes = [start(repo, dataset(archive(site)), folder, log) for log in logs]
    wait_for(lambda: site.hits and any("another run is fetching gliomas-1" in log.read_text() for log in logs))
    site.silence.set()
    records = [json.loads(process.communicate(timeout=20)[0]) for process in processes]
    assert records[0] == records[1]
    assert len(site.hits) == 1
    assert held(folder) == FILES


def test_a_killed_fetch_goes_on_and_equals_the_undisturbed_one(
    site: Site, folder: Path, console: Console, tmp_path: Path, repo: Path
) -> None:
    site.pages["/train.zip"].stall_after = 150_000
    process = start(repo, dataset(archive(site)), folder, tmp_path / "1.log")
    part = folder.parent / ".gliomas-1.fetching" / "train.zip.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
    process.kill()
    process.communicate()
    assert not folder.exists()
    site.pages["/train.zip"].stall_after = None
    fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    assert held(folder) == FILES
    assert site.hits[-1].sent < 110_000
    assert beside(folder) == set()


def test_a_fetch_killed_while_unpacking_does_not_fetch_again(
    site: Site, folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(script, "write_json", killed)
        fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    assert not folder.exists()
    fetch_dataset("gliomas", dataset(archive(site)), folder, console)
    assert held(folder) == FILES
    assert len(site.hits) == 1


# ---- gated data


def synapse(**more: Any) -> Dataset:
    train = {"url": "synapse:syn123", "name": "train.zip", "checksum": MD5}
    return dataset(train, access="synapse", licence="BraTS terms", **more)


def test_without_a_token_synapse_is_not_tried_and_every_way_is_told(
    folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNAPSE_AUTH_TOKEN", raising=False)
    assert not can_fetch(synapse())
    with pytest.raises(UserError) as caught:
        fetch_dataset("gliomas", synapse(), folder, console)
    for part in ("https://example.org/gliomas", "BraTS terms", "$SYNAPSE_AUTH_TOKEN", str(folder), "`path`"):
        assert part in str(caught.value)
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "x")
    assert can_fetch(synapse())


def test_a_data_set_without_archives_is_got_by_hand(folder: Path) -> None:
    assert not can_fetch(dataset(access="tcia"))
    said = how_to_get("gliomas", dataset(access="tcia"), folder)
    assert said.endswith(
        f"Download it by hand and unpack it into {folder}, or name the folder where you have it by the cohort's key `path`."
    )


def test_every_data_set_of_the_registry_can_be_got_somehow(tmp_path: Path) -> None:
    for key, entry in datasets().items():
        assert entry.source in how_to_get(key, entry, tmp_path)


def imitate_synapse(site: Site) -> None:
    """Answer as Synapse's services do for the files syn123 (given out), syn456 (terms not accepted) and the folder syn789."""
    handle = {
        "id": "7", "concreteType": "org.sagebionetworks.repo.model.file.S3FileHandle", "fileName": "as published.zip",
        "contentSize": len(ZIP), "contentMd5": MD5[4:], "storageLocationId": 1,
    }  # fmt: skip

    def service(answer: dict[str, Any]) -> Page:
        refused = (401, {"reason": "Invalid access token"})
        return Page(answer=lambda asked: (200, answer) if asked["token"] == "Bearer good" else refused)

    def entity(number: str, kind: str, **more: Any) -> None:
        kind = f"org.sagebionetworks.repo.model.{kind}"
        about = {"id": number, "name": "train.zip", "concreteType": kind, "parentId": "syn1", "etag": "e", **more}
        site.pages[f"/repo/entity/{number}/type"] = service({"id": number, "name": "train.zip", "type": kind})
        site.pages[f"/repo/entity/{number}/bundle2"] = service(
            {
                "entity": about,
                "annotations": {"id": number, "etag": "e", "annotations": {}},
                "fileHandles": [handle] if number == "syn123" else [],
                "restrictionInformation": {"hasUnmetAccessRequirement": number == "syn456"},
            }
        )

    entity("syn123", "FileEntity", dataFileHandleId="7", versionNumber=1)
    entity("syn456", "FileEntity", dataFileHandleId="8", versionNumber=1)
    entity("syn789", "Folder")
    site.pages["/repo/userProfile"] = service({"ownerId": "1", "userName": "someone"})
    file = {"fileHandleId": "7", "fileHandle": handle, "preSignedURL": site.url("/train.zip")}
    site.pages["/fileHandle/fileHandle/batch"] = service({"requestedFiles": [file]})


SYNAPSE_SCRIPT = """
import json, os, sys
from pathlib import Path
from fetch_dataset import fetch_dataset
from glioflow.cohorts.access import fetch_synapse
from glioflow.console import Console, UserError
from glioflow.study.registry import Dataset
entry, folder = Dataset.model_validate_json(sys.argv[1]), Path(sys.argv[2])
said = {}
for case, token, entity in [
    ("refused", "bad", "syn123"), ("gated", "good", "syn456"), ("missing", "good", "syn999"), ("folder", "good", "syn789")
]:
    os.environ["SYNAPSE_AUTH_TOKEN"] = token
    try:
        fetch_synapse("synapse:" + entity, folder.with_name("train.zip"), "ADVICE")
    except UserError as error:
        said[case] = str(error)
said["record"] = fetch_dataset("gliomas", entry, folder, Console())
print(json.dumps(said))
"""


def test_synapses_own_client_fetches_for_whom_synapse_gives_it_to(site: Site, tmp_path: Path, folder: Path, repo: Path) -> None:
    imitate_synapse(site)
    names = ("repo", "auth", "fileHandle", "portal")
    endpoints = [f"{name}Endpoint = {site.url('/' + name)}" for name in names]
    (tmp_path / ".synapseConfig").write_text("\n".join(["[endpoints]", *endpoints]))
    folder.parent.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(repo / "scripts"), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", SYNAPSE_SCRIPT, synapse().model_dump_json(), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "does not accept the token in $SYNAPSE_AUTH_TOKEN" in said["refused"]
    assert "syn456: the owner of the token in $SYNAPSE_AUTH_TOKEN has not been given access" in said["gated"]
    assert "syn999: Synapse did not give it out (404" in said["missing"]
    assert "syn789: this is no file" in said["folder"]
    assert all(said[case].endswith("ADVICE") for case in ("refused", "gated", "missing", "folder"))
    assert said["record"]["archives"] == [
        {"name": "train.zip", "url": "synapse:syn123", "sha256": SHA[7:], "md5": MD5[4:], "bytes": len(ZIP)}
    ]
    assert held(folder) == FILES
    assert beside(folder) == set()
