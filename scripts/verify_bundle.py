"""Verify a bundle that ``write_bundle`` wrote: run by hand, with the file alone and glioflow's environment.

``python scripts/verify_bundle.py FILE`` reads every file of it and compares its SHA-256. With ``--recompute`` everything that
follows from its tables is made again by the workflow in it, in a temporary folder, and compared byte for byte; what differs is
named: file, row, column, both values. With ``--data PATH``, a folder with the study's images, so is what follows from the
masks, where these went along: scores and features. Nothing is unpacked before paths, links, sizes and names were checked.

The exit status is 0 where all is as it should be, 1 where something differs, and 2 where the file cannot be read as a bundle.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from glioflow.bundle.replay import IMAGES, TABLES
from glioflow.bundle.verify import find_inputs, lacking_masks, other_code, place_inputs, recompute
from glioflow.bundle.zip_files import checksum_problems, opened_bundle, unpack_bundle
from glioflow.console import Console, UserError, count, run_command

SHOWN = 5


def check_code(bundle: Path, trusted: bool) -> None:
    """Raise UserError where making the study again would run code that this checkout does not have, and nobody allowed it."""
    other = other_code(bundle)
    if other and not trusted:
        names = ", ".join(other[:SHOWN]) + (" …" if len(other) > SHOWN else "")
        raise UserError(
            f"{bundle}: its workflow is not this checkout's: {count(len(other), 'file')} of scripts/ differ ({names}). To make "
            "the study again, run this from the checkout of the bundle's version, or read the code and say --run-its-code"
        )


def verify(bundle: Path, again: bool, data: Path | None, trusted: bool, console: Console) -> list[str]:
    """Return what is wrong with a bundle, a line each. Raises UserError where it cannot be read, or not be made again."""
    problems = checksum_problems(bundle, console)
    with opened_bundle(bundle) as (_, listed):
        console.say(f"{count(len(listed), 'file')} read, {count(len(problems), 'problem')}")
    if not (again or data):
        return problems
    check_code(bundle, trusted)
    with tempfile.TemporaryDirectory(prefix="glioflow_bundle_") as place:
        folder = Path(place) / "bundle"
        unpack_bundle(bundle, folder, console)
        problems += recompute(folder, made_in(Path(place) / TABLES), TABLES, console)
        if data:
            if masks := lacking_masks(folder):
                raise UserError(
                    f"{bundle}: the masks of {masks[0]} are no part of it, so nothing can be scored again; leave --data out"
                )
            found, missing = find_inputs(folder, data, console)
            if missing := [line for line in missing if line.partition(":")[0].endswith((".nii.gz", ".nii"))]:
                raise UserError(
                    "\n".join([f"{data}: {count(len(missing), 'file')} of the study are not there:", *missing[:20]])
                )
            work = made_in(Path(place) / IMAGES)
            place_inputs(folder, work, found)
            problems += recompute(folder, work, IMAGES, console)
    return problems


def made_in(folder: Path) -> Path:
    """Return the folder, made."""
    folder.mkdir()
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the bundle that the command line names; print what is wrong; return the exit status."""
    parser = argparse.ArgumentParser(prog="verify_bundle.py", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("bundle", type=Path, metavar="FILE", help="the bundle")
    parser.add_argument("--recompute", action="store_true", help="make again what follows from the tables")
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="folder with the study's images: make scores and features again too"
    )
    parser.add_argument(
        "--run-its-code", action="store_true", help="run the bundle's workflow though it is not this checkout's"
    )
    told = parser.parse_args(arguments)

    def command() -> int:
        problems = verify(told.bundle, told.recompute, told.data, told.run_its_code, Console(name="verify_bundle"))
        for problem in problems:
            print(problem)
        print(f"{told.bundle.name}: {count(len(problems), 'problem') if problems else 'all is as it was written'}")
        return 1 if problems else 0

    return run_command(command, told.bundle)


if __name__ == "__main__":
    sys.exit(main())
