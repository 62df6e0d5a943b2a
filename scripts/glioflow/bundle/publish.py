"""Publishing a bundle: to a folder, to storage that speaks S3, or as a draft to Zenodo or another InvenioRDM.

Every upload goes on where it stopped, is verified when it is there, and stays private: what is public is so by a flag of its
own. Tokens come from the environment alone, travel in headers, and are written nowhere.
"""

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlparse

import requests

from glioflow.bundle.zip_files import OTHER_DISK
from glioflow.console import Console, UserError
from glioflow.disk import amount, require_space
from glioflow.files import replacing, sha256_file

TOKEN = "INVENIO_TOKEN"  # and, for zenodo.org, ZENODO_TOKEN
PART_BYTES = 64 << 20  # S3 takes 10,000 parts of 5 MiB to 5 GiB (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)
MOST_PARTS = 10_000
TIMEOUT_S = 60
UPLOAD_TIMEOUT_S = 3600
BLOCK_BYTES = 1 << 20


def publish_to_folder(bundle: Path, folder: Path) -> str:
    """Copy the bundle into a folder, all or nothing, verified; return where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    target, digest = folder / bundle.name, sha256_file(bundle)
    if target.exists() and sha256_file(target) == digest:
        return f"{target} is there already"
    require_space(folder, bundle.stat().st_size, bundle.name, OTHER_DISK)
    with replacing(target) as part:
        shutil.copyfile(bundle, part)
        if sha256_file(part) != digest:
            raise UserError(f"{target}: what was written is not what was read; is the disk damaged?")
    return f"{target}"


# ---- S3


def publish_to_s3(bundle: Path, address: str, public: bool, console: Console) -> str:
    """Upload the bundle to ``s3://bucket/folder`` in parts; return its address.

    Where and as whom is boto3's business: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` … Parts that
    an earlier try has uploaded are not uploaded again. The server checks each part's SHA-256; then the whole is compared.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    place = urlparse(address)
    if place.scheme != "s3" or not place.netloc:
        raise UserError(f"{address}: expected s3://BUCKET or s3://BUCKET/FOLDER")
    bucket, key = place.netloc, "/".join(filter(None, [place.path.strip("/"), bundle.name]))
    try:
        client = boto3.client("s3")
        if _is_in_s3(client, bucket, key, bundle):
            return f"s3://{bucket}/{key} is there already"
        _upload_parts(client, bucket, key, bundle, public, console)
        if not _is_in_s3(client, bucket, key, bundle):
            raise UserError(f"s3://{bucket}/{key}: what is there after the upload is not the bundle; remove it and try again")
    except (NoCredentialsError, PartialCredentialsError):
        wanted = "$AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY"
        raise UserError(f"{address}: no credentials for the storage, or only a part of them; put them into {wanted}") from None
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"{address}: {error}; what was uploaded is kept, and the next try goes on from there") from None
    return f"s3://{bucket}/{key}"


def _part_bytes(size: int) -> int:
    return max(PART_BYTES, -(-size // MOST_PARTS))


def _is_in_s3(client: Any, bucket: str, key: str, bundle: Path) -> bool:
    """Tell whether an object has the bundle's SHA-256, as computed from what the storage gives back."""
    from botocore.exceptions import ClientError

    try:
        found = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return False
        raise
    if found["ContentLength"] != bundle.stat().st_size:
        return False
    digest = hashlib.sha256()
    for block in found["Body"].iter_chunks(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest() == sha256_file(bundle)


def _upload_parts(client: Any, bucket: str, key: str, bundle: Path, public: bool, console: Console) -> None:
    begun = client.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", [])
    upload = next((one["UploadId"] for one in begun if one["Key"] == key), None)
    had: dict[int, Mapping[str, Any]] = {}
    if upload:
        pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
        had = {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}
        console.say(f"going on with an upload of which {len(had)} parts are there")
    else:
        acl = {"ACL": "public-read"} if public else {}
        upload = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256", **acl)["UploadId"]
    size, step = bundle.stat().st_size, _part_bytes(bundle.stat().st_size)
    parts = []
    numbers = range(1, max(1, -(-size // step)) + 1)
    with bundle.open("rb") as stream:
        for number in console.track(numbers, len(numbers), "parts uploaded"):
            block = stream.read(step)
            checksum = base64.b64encode(hashlib.sha256(block).digest()).decode()
            etag = f'"{hashlib.md5(block, usedforsecurity=False).hexdigest()}"'  # S3's name for a part: no secret
            if had.get(number, {}).get("ETag") != etag:
                sent = client.upload_part(
                    Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=block, ChecksumSHA256=checksum
                )
                etag = sent["ETag"]
            parts.append({"PartNumber": number, "ETag": etag, "ChecksumSHA256": checksum})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


# ---- InvenioRDM


class Invenio:
    """The drafts of an InvenioRDM, such as Zenodo, by its REST API (inveniordm.docs.cern.ch/reference/rest_api_drafts_records).

    Raises UserError, without the token, where the server refuses.
    """

    def __init__(self, address: str) -> None:
        host = urlparse(address).hostname or ""
        names = ("ZENODO_TOKEN", TOKEN) if host.endswith("zenodo.org") else (TOKEN,)
        token = next((os.environ[name] for name in names if os.environ.get(name)), None)
        if token is None:
            raise UserError(f"{address}: no token; make one in your account there, and put it into ${names[0]}")
        if urlparse(address).scheme != "https" and host not in ("localhost", "127.0.0.1"):
            raise UserError(f"{address}: a token would travel in the open; use https")
        self.address = address.rstrip("/")
        self.session = requests.Session()
        self.session.trust_env = False  # a .netrc would take the token's place
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, timeout: float = TIMEOUT_S, **more: Any) -> Any:
        """Return the JSON that the server answers."""
        try:
            answer = self.session.request(method, f"{self.address}/api{path}", timeout=timeout, allow_redirects=False, **more)
        except requests.RequestException as error:
            raise UserError(f"{self.address}: cannot be reached ({type(error).__name__}); run again, it goes on") from None
        if answer.status_code >= 300:
            told = answer.text[:300].replace(self.session.headers["Authorization"][7:], "[token]")  # type: ignore[arg-type,index]
            raise UserError(f"{self.address}{path}: the server answered {answer.status_code} {answer.reason}: {told}")
        return answer.json() if answer.content else {}

    def find_draft(self, title: str, version: str) -> dict[str, Any] | None:
        """Return this user's draft of the title and version, None where there is none."""
        query = {"q": f'metadata.title:"{title}"', "size": 100}
        hits = self.call("GET", "/user/records", params=query).get("hits", {}).get("hits", [])
        for record in hits:
            told = record["metadata"]
            if (told.get("title"), told.get("version")) == (title, version) and not record.get("is_published"):
                return dict(record)
        return None

    def upload(self, record: str, bundle: Path, console: Console) -> None:
        """Put the bundle into a draft, unless it is there whole; then compare its checksum."""
        base, name, digest = f"/records/{record}/draft/files", quote(bundle.name), _md5(bundle)
        there = {entry["key"]: entry for entry in self.call("GET", base).get("entries", [])}.get(bundle.name)
        if there and there.get("status") == "completed" and there.get("checksum") == digest:
            console.say(f"{bundle.name} is in the draft already")
            return
        if there:  # of an upload that was cut off, or of another bundle: a content is sent as a whole
            self.call("DELETE", f"{base}/{name}")
        self.call("POST", base, json=[{"key": bundle.name}])
        with bundle.open("rb") as stream:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(bundle.stat().st_size)}
            self.call("PUT", f"{base}/{name}/content", timeout=UPLOAD_TIMEOUT_S, data=stream, headers=headers)
        done = self.call("POST", f"{base}/{name}/commit")
        if done.get("checksum") != digest:
            raise UserError(
                f"{self.address}: {bundle.name}: the server has {done.get('checksum')}, the file is {digest}; run again"
            )


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return f"md5:{hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"


def draft_of(crate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a draft, after what the bundle says of itself (inveniordm.docs.cern.ch/reference/metadata)."""
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    root = graph["./"]
    authors = root.get("author", [])
    people = [graph[author["@id"]] for author in (authors if isinstance(authors, list) else [authors])]
    if not people:
        raise UserError("the bundle names no author, and a record needs one: name them in bundle.authors and make it again")
    licence = graph[root["license"]["@id"]]["name"]
    return {
        "access": {"record": "restricted", "files": "restricted"},
        "files": {"enabled": True},
        "metadata": {
            "resource_type": {"id": "dataset"},
            "title": root["name"],
            "description": root["description"],
            "publication_date": root["datePublished"][:10],
            "version": root["version"],
            "creators": [_creator(person) for person in people],
            "rights": [{"id": licence.lower()}] if "://" not in licence else [{"title": {"en": licence}, "link": licence}],
        },
    }


def _creator(person: Mapping[str, Any]) -> dict[str, Any]:
    given, _, family = person["name"].rpartition(" ")
    orcid = person["@id"].rpartition("/")[2] if "orcid.org" in person["@id"] else None
    named: dict[str, Any] = {"type": "personal", "given_name": given, "family_name": family, "name": f"{family}, {given}"}
    if orcid:
        named["identifiers"] = [{"scheme": "orcid", "identifier": orcid}]
    where = [{"name": person["affiliation"]}] if person.get("affiliation") else []
    return {"person_or_org": named, "affiliations": where}


def publish_to_invenio(bundle: Path, address: str, crate: Mapping[str, Any], public: bool, console: Console) -> str:
    """Make or find the draft of the bundle on an InvenioRDM and put the file into it; return the draft's address.

    The draft is restricted, and not published, unless ``public``: then it is open and published, which cannot be undone.
    """
    server, draft = Invenio(address), draft_of(crate)
    if public:
        draft["access"] = {"record": "public", "files": "public"}
    found = server.find_draft(draft["metadata"]["title"], draft["metadata"]["version"])
    record = (
        server.call("PUT", f"/records/{found['id']}/draft", json=draft)
        if found
        else server.call("POST", "/records", json=draft)
    )
    console.say(f"draft {record['id']} {'found' if found else 'made'}; {amount(bundle.stat().st_size)} to upload")
    server.upload(record["id"], bundle, console)
    doi = record.get("pids", {}).get("doi", {}).get("identifier")
    if doi is None:  # a server may give none: then the record goes without
        doi = _reserve(server, record["id"])
    told = f" (reserved DOI {doi})" if doi else ""
    if public:
        server.call("POST", f"/records/{record['id']}/draft/actions/publish")
        return f"{server.address}/records/{record['id']}, published{told}"
    return f"{server.address}/uploads/{record['id']}, a draft that only you see{told}"


def _reserve(server: Invenio, record: str) -> str | None:
    try:
        answer = server.call("POST", f"/records/{record}/draft/pids/doi")
    except UserError:
        return None
    return answer.get("pids", {}).get("doi", {}).get("identifier")  # type: ignore[no-any-return]
