"""Lay out a bundle to be run again: run by hand, with the file, a new folder, and the study's data where they are at hand.

``python scripts/rerun_from_bundle.py FILE FOLDER --data PATH`` checks the bundle, and compares the files below PATH with
those that the study was made from, by SHA-256, whatever they are called. What is missing or other is listed. In FOLDER are
then the workflow, ``study.yaml``, and links to the data under the names it has; ``snakemake --configfile study.yaml`` there
makes the study again. Folds that were trained are laid out too, and are not trained again.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from glioflow.archives import building
from glioflow.bundle.rerun import lay_out_folds, lay_out_workflow, link_inputs
from glioflow.bundle.zip_files import checksum_problems, unpack_bundle
from glioflow.console import Console, UserError, count, run_command

SHOWN = 20


def rerun(bundle: Path, target: Path, data: Path | None, console: Console) -> list[str]:
    """Lay the bundle out in the new folder ``target``; return the files of the study that are missing or other.

    Raises UserError where the bundle is damaged, or ``target`` holds something.
    """
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target}: holds something already; name a new folder")
    if problems := checksum_problems(bundle, console):
        raise UserError("\n".join([f"{bundle}: is not as it was written, and is not laid out:", *problems[:SHOWN]]))
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="glioflow_bundle_") as place:
        folder = Path(place) / "bundle"
        unpack_bundle(bundle, folder, console)
        with building(target.absolute()) as built:
            lay_out_workflow(folder, built)
            if data:
                missing = link_inputs(folder, built, data.absolute(), console)
            folds = lay_out_folds(folder, built, console)
    console.say(f"{target}: workflow and configuration laid out, {count(folds, 'trained fold')} with them")
    return missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Lay out the bundle that the command line names, and say how to run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="rerun_from_bundle.py", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("bundle", type=Path, metavar="FILE", help="the bundle")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument("--data", type=Path, metavar="PATH", help="folder with the study's images and tables")
    told = parser.parse_args(arguments)

    def command() -> int:
        missing = rerun(told.bundle, told.folder, told.data, Console(name="rerun_from_bundle"))
        for line in missing:
            print(line)
        if missing:
            print(
                f"{count(len(missing), 'file')} of the study missing or other; what is made from them will be other, "
                "or not at all"
            )
        elif told.data is None:
            print("put your data under the names in inputs.csv, or name their folder by --data; phantoms are made by the run")
        print(f"cd {told.folder} && snakemake --cores 8 --configfile study.yaml")
        return 1 if missing else 0

    return run_command(command, told.bundle)


if __name__ == "__main__":
    sys.exit(main())
