"""Publishing: to a folder, to a local S3 server, to a local server that answers as InvenioRDM does."""

import json
from pathlib import Path

import boto3
import pytest
import requests
from botocore.exceptions import EndpointConnectionError
from invenio import Server, running
from moto.server import ThreadedMotoServer

import publish_bundle
from glioflow.bundle import publish
from glioflow.bundle.zip_files import CHECKSUMS, checksum_text, write_zip
from glioflow.console import Console
from glioflow.files import sha256_file

ROOT = {
    "@id": "./",
    "name": "My study",
    "description": "A study.",
    "datePublished": "2026-11-30T01:02:03+00:00",
    "version": "1.0.0",
    "license": {"@id": "https://spdx.org/licenses/CC-BY-4.0"},
    "author": [{"@id": "https://orcid.org/0000-0002-1825-0097"}],
}
GRAPH = [
    ROOT,
    {"@id": "https://spdx.org/licenses/CC-BY-4.0", "name": "CC-BY-4.0"},
    {"@id": "https://orcid.org/0000-0002-1825-0097", "name": "Ada Lovelace", "affiliation": "London"},
]


def make_bundle(folder: Path, graph: list[dict[str, object]] = GRAPH, filling: bytes = b"x") -> Path:
    (folder / "meta").write_text(json.dumps({"@graph": graph}))
    (folder / "big.png").write_bytes(filling * 300_000)
    files = {"ro-crate-metadata.json": folder / "meta", "big.png": folder / "big.png"}
    (folder / "sums").write_text(checksum_text({name: sha256_file(path) for name, path in files.items()}))
    write_zip(folder / "study-1.0.0.zip", {**files, CHECKSUMS: folder / "sums"}, Console())
    return folder / "study-1.0.0.zip"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path)


# ---- a folder


def test_a_folder_gets_a_copy_once(bundle, tmp_path, capsys):
    for _ in range(2):
        assert publish_bundle.main([str(bundle), str(tmp_path / "shared/here")]) == 0
    assert (tmp_path / "shared/here" / bundle.name).read_bytes() == bundle.read_bytes()
    assert "is there already" in capsys.readouterr().out


def test_a_damaged_bundle_is_not_published(bundle, tmp_path, capsys):
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    assert publish_bundle.main([str(bundle), str(tmp_path / "shared")]) == 2
    assert "is not as it was written" in capsys.readouterr().err and not (tmp_path / "shared").exists()


# ---- S3


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(publish, "PART_BYTES", 100_000)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1, raising=False)
    client = boto3.client("s3")
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)  # what is kept, all servers of a process share
    client.create_bucket(Bucket="lab")
    yield client
    server.stop()


class Watched:
    """A client that notes what it uploads, and loses its connection after so many parts."""

    def __init__(self, client: object, after: int = 99) -> None:
        self.client, self.after = client, after
        self.begun: list[dict[str, object]] = []
        self.parts: list[int] = []

    def __getattr__(self, name: str):
        return getattr(self.client, name)

    def create_multipart_upload(self, **told):
        self.begun.append(told)
        return self.client.create_multipart_upload(**told)

    def upload_part(self, **told):
        if len(self.parts) == self.after:
            raise EndpointConnectionError(endpoint_url="cut")
        self.parts.append(told["PartNumber"])
        return self.client.upload_part(**told)


def test_s3_gets_the_bundle_privately_and_once(bundle, bucket, monkeypatch, capsys):
    watched = Watched(bucket)
    monkeypatch.setattr(boto3, "client", lambda _: watched)
    for _ in range(2):
        assert publish_bundle.main([str(bundle), "s3://lab/papers"]) == 0
    assert bucket.get_object(Bucket="lab", Key="papers/study-1.0.0.zip")["Body"].read() == bundle.read_bytes()
    assert len(watched.begun) == 1 and "ACL" not in watched.begun[0], "an object is its owner's unless something else is said"
    told = capsys.readouterr()
    assert "is there already" in told.out and "very-secret" not in told.out + told.err


def test_s3_is_public_by_the_flag_alone(bundle, bucket):
    assert publish_bundle.main([str(bundle), "s3://lab/papers", "--public"]) == 0
    grants = bucket.get_object_acl(Bucket="lab", Key="papers/study-1.0.0.zip")["Grants"]
    assert any("AllUsers" in grant["Grantee"].get("URI", "") for grant in grants)


@pytest.mark.parametrize("lacking", [["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], ["AWS_SECRET_ACCESS_KEY"]])
def test_without_credentials_for_s3_the_message_names_them(bundle, bucket, monkeypatch, capsys, lacking):
    for name in lacking:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "client", boto3.session.Session().client)  # its own has found some before
    assert publish_bundle.main([str(bundle), "s3://lab/papers"]) == 2
    assert "put them into $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY" in capsys.readouterr().err


def test_an_upload_to_s3_goes_on_where_it_was_cut_off(bundle, bucket, monkeypatch, capsys):
    first, second = Watched(bucket, after=2), Watched(bucket)
    monkeypatch.setattr(boto3, "client", lambda _: first)
    assert publish_bundle.main([str(bundle), "s3://lab/papers"]) == 2
    assert "goes on from there" in capsys.readouterr().err
    monkeypatch.setattr(boto3, "client", lambda _: second)
    assert publish_bundle.main([str(bundle), "s3://lab/papers"]) == 0
    assert (first.parts, second.parts) == ([1, 2], [3, 4]), "what was there is not sent again"
    assert bucket.get_object(Bucket="lab", Key="papers/study-1.0.0.zip")["Body"].read() == bundle.read_bytes()


def test_a_bucket_that_is_not_there_is_told(bundle, bucket, capsys):
    assert publish_bundle.main([str(bundle), "s3://nobody/papers"]) == 2
    assert "s3://nobody/papers: " in capsys.readouterr().err


# ---- InvenioRDM


@pytest.fixture
def server(monkeypatch):
    with running() as found:
        monkeypatch.setenv("INVENIO_TOKEN", found.token)
        yield found


def send(bundle: Path, server: Server, *more: str) -> int:
    return publish_bundle.main([str(bundle), f"invenio:{server.address}", *more])


def test_a_draft_has_the_file_the_metadata_and_a_doi_and_is_private(bundle, server, capsys):
    assert send(bundle, server) == 0
    (draft,) = server.drafts.values()
    assert not draft["is_published"] and draft["access"] == {"record": "restricted", "files": "restricted"}
    assert draft["metadata"]["creators"][0]["person_or_org"]["family_name"] == "Lovelace"
    assert draft["metadata"]["rights"] == [{"id": "cc-by-4.0"}] and draft["metadata"]["publication_date"] == "2026-11-30"
    assert server.files["rec0"][bundle.name]["size"] == bundle.stat().st_size
    told = capsys.readouterr()
    assert "a draft that only you see (reserved DOI 10.5072/rec0)" in told.out
    assert not any("publish" in path for path in server.asked)


def test_a_second_try_finds_the_draft_and_sends_nothing_twice(bundle, server):
    assert send(bundle, server) == send(bundle, server) == 0
    assert len(server.drafts) == 1
    assert sum(path.endswith("/content") for path in server.asked) == 1


def test_an_upload_that_was_cut_off_goes_on_in_the_same_draft(bundle, server, capsys):
    server.cut_off = 1
    assert send(bundle, server) == 2
    assert "run again, it goes on" in capsys.readouterr().err
    assert send(bundle, server) == 0
    assert len(server.drafts) == 1 and server.files["rec0"][bundle.name]["status"] == "completed"


def test_what_arrives_otherwise_is_told(bundle, server, capsys):
    server.spoil = True
    assert send(bundle, server) == 2
    assert "the server has md5:" in capsys.readouterr().err


def test_publishing_takes_the_flag(bundle, server, capsys):
    assert send(bundle, server, "--public") == 0
    assert server.drafts["rec0"]["is_published"] and server.drafts["rec0"]["access"]["record"] == "public"


def test_the_token_is_in_no_message_and_no_address(bundle, server, monkeypatch, capsys):
    monkeypatch.setenv("INVENIO_TOKEN", "a-wrong-secret-token")
    assert send(bundle, server) == 2
    told = capsys.readouterr()
    assert "answered 403" in told.err and "a-wrong-secret-token" not in told.err + told.out
    assert not any("secret" in path for path in server.asked)


def test_without_a_token_or_over_plain_http_nothing_is_sent(bundle, server, monkeypatch, capsys):
    assert publish_bundle.main([str(bundle), "invenio:http://example.org"]) == 2
    assert "use https" in capsys.readouterr().err
    monkeypatch.delenv("INVENIO_TOKEN")
    assert send(bundle, server) == 2
    assert "put it into $INVENIO_TOKEN" in capsys.readouterr().err
    assert server.asked == []


def test_a_bundle_without_an_author_makes_no_draft(tmp_path, server, capsys):
    nobody = [{key: value for key, value in ROOT.items() if key != "author"}, GRAPH[1]]
    assert send(make_bundle(tmp_path, nobody), server) == 2
    assert "name them in bundle.authors" in capsys.readouterr().err and server.drafts == {}
