"""Validating a crate by roc-validator, without any network.

The validator reads the context of RO-Crate 1.1 from the web. The library ``rocrate`` brings that of 1.3, which names the same
terms; those few that 1.1 has other addresses for are put in.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import rocrate
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
OF_1_1 = {  # bioschemas.org terms, as https://w3id.org/ro/crate/1.1/context has them
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


def context_document() -> dict[str, object]:
    """Return the context document of RO-Crate 1.1."""
    document = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text())
    return {**document, "@id": CONTEXT, "@context": {**document["@context"], **OF_1_1}}


def issues_of(crate: Path, profile: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what roc-validator has against a crate, a folder or a zip, at the level REQUIRED."""
    document = context_document()

    def get(_self: HttpRequester, url: str, **_: object) -> SimpleNamespace:
        known = url == CONTEXT
        return SimpleNamespace(
            status_code=200 if known else 404,
            json=lambda: document,
            text=json.dumps(document),
            headers={"Content-Type": "application/ld+json"},
            url=url,
            ok=known,
        )

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)  # it passes on what its session has
    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=cache,
    )
    result = services.validate(settings)
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
