"""Publish a bundle: run by hand. To a folder, to storage that speaks S3, or as a draft to Zenodo or another InvenioRDM.

``python scripts/publish_bundle.py FILE TARGET``, where TARGET is a folder, ``s3://BUCKET/FOLDER``, ``zenodo``,
``zenodo-sandbox``, or ``invenio:https://…``. The bundle is verified first, an upload that was cut off goes on, and what is
there in the end is compared with the file. Nothing becomes public without ``--public``. Tokens are read from the environment
(docs/publish.md), never from the command line.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from glioflow.bundle.crate import METADATA
from glioflow.bundle.publish import publish_to_folder, publish_to_invenio, publish_to_s3
from glioflow.bundle.zip_files import checksum_problems, opened_bundle
from glioflow.console import Console, UserError, run_command

SERVERS = {"zenodo": "https://zenodo.org", "zenodo-sandbox": "https://sandbox.zenodo.org"}


def publish(bundle: Path, target: str, public: bool, console: Console) -> str:
    """Bring the bundle to its target; return where it is then. Raises UserError where it is damaged, or was not taken."""
    if problems := checksum_problems(bundle, console):
        raise UserError("\n".join([f"{bundle}: is not as it was written, and is not published:", *problems]))
    if target.startswith("s3://"):
        return publish_to_s3(bundle, target, public, console)
    address = SERVERS.get(target) or (target.removeprefix("invenio:") if target.startswith("invenio:") else None)
    if address:
        with opened_bundle(bundle) as (opened, _):
            crate = json.loads(opened.read(METADATA))
        return publish_to_invenio(bundle, address, crate, public, console)
    if "://" in target:
        raise UserError(f"{target}: expected a folder, s3://…, {', '.join(SERVERS)} or invenio:https://…")
    return publish_to_folder(bundle, Path(target))


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish the bundle that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(prog="publish_bundle.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("bundle", type=Path, metavar="FILE", help="the bundle")
    parser.add_argument(
        "target", metavar="TARGET", help="a folder, s3://BUCKET/FOLDER, zenodo, zenodo-sandbox, invenio:https://…"
    )
    parser.add_argument("--public", action="store_true", help="let everybody read it; on an InvenioRDM: publish, for good")
    told = parser.parse_args(arguments)

    def command() -> int:
        print(publish(told.bundle, told.target, told.public, Console(name="publish_bundle")))
        return 0

    return run_command(command, told.bundle)


if __name__ == "__main__":
    sys.exit(main())
