"""Data sets that are not open to everyone: what a user must do, and the official client that fetches them then.

An archive's address is a web address, or ``synapse:syn123``: a file on Synapse (https://www.synapse.org), for those who
accepted the data set's terms there and put a personal access token into ``$SYNAPSE_AUTH_TOKEN``. A data set without archives is
downloaded by hand.
"""

import os
import shutil
from pathlib import Path

from glioflow.console import UserError
from glioflow.study.registry import Dataset

TOKEN_VARIABLE = "SYNAPSE_AUTH_TOKEN"
SYNAPSE = "synapse:"


def can_fetch(dataset: Dataset) -> bool:
    """Tell whether fetching a data set can be tried: it has archives, and each one's client and token are there."""
    return bool(dataset.archives) and not any(_missing(archive.url) for archive in dataset.archives)


def how_to_get(key: str, dataset: Dataset, folder: Path) -> str:
    """Return what a user can do to get a data set: the page, its terms, and where the files go.

    ``folder`` is where the data set is looked for (``glioflow.study.configuration.data_folder``).
    """
    steps = [f"{dataset.title} ({key}): read {dataset.source} and accept its terms there ({dataset.licence})."]
    missing = list(dict.fromkeys(filter(None, (_missing(archive.url) for archive in dataset.archives))))
    if missing:
        steps.append(f"To have it fetched: {'; '.join(missing)}.")
    byhand = "Or download" if missing else "Download"
    steps.append(
        f"{byhand} it by hand and unpack it into {folder}, or name the folder where you have it by the cohort's key `path`."
    )
    return " ".join(steps)


def _missing(url: str) -> str:
    """Return what is missing to fetch from an address, as an instruction; nothing where it can be tried."""
    if url.startswith(SYNAPSE) and not os.environ.get(TOKEN_VARIABLE):
        return (
            f"make a personal access token with the permissions View and Download in your account settings at "
            f"https://www.synapse.org and put it into ${TOKEN_VARIABLE}"
        )
    return ""


def fetch_synapse(url: str, target: Path, advice: str) -> None:
    """Fetch a ``synapse:`` address into the file ``target`` with Synapse's own Python client, which checks the file's MD5.

    Raises UserError where the token is refused, the terms were not accepted, the file does not exist or Synapse cannot be
    reached. The client fetches in parts and starts over when it is interrupted. It was tried against a small imitation of
    Synapse's services (tests/unit/cohorts/test_fetch_dataset.py), never against Synapse itself, which needs an account.
    """
    import httpx
    import requests
    from synapseclient import Synapse
    from synapseclient.core import exceptions
    from synapseclient.operations import FileOptions, get

    entity = url.removeprefix(SYNAPSE)
    incoming = target.with_name(f"{target.name}.synapse")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    options = FileOptions(download_location=str(incoming), if_collision="overwrite.local")
    try:
        client = Synapse(skip_checks=True, silent=True, cache_root_dir=str(incoming / "cache"), cache_client=False)
        client.login(authToken=os.environ[TOKEN_VARIABLE], silent=True)
        path = getattr(get(entity, file_options=options, synapse_client=client), "path", None)
        if not path:
            raise UserError(f"{url}: this is no file on Synapse; the registry must name a file's id. {advice}")
        os.replace(path, target)
    except exceptions.SynapseAuthenticationError as error:
        raise UserError(f"{url}: Synapse does not accept the token in ${TOKEN_VARIABLE} ({_line(error)}). {advice}") from None
    except exceptions.SynapseUnmetAccessRestrictions:
        raise UserError(f"{url}: the owner of the token in ${TOKEN_VARIABLE} has not been given access yet. {advice}") from None
    except (exceptions.SynapseError, requests.RequestException, httpx.HTTPError) as error:
        raise UserError(f"{url}: Synapse did not give it out ({_line(error)}). {advice}") from None
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
