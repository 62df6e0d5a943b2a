"""List the archived trainings of a results folder with the room that they take, and delete them where that is asked for.

Usage: python scripts/list_archived.py RESULTS [--delete] [--only NAME ...]

When what a fold is trained from changes, its former training is kept in ``superseded/`` beside the folds of its model, and
comes back when data and settings do. Nothing but such folders is deleted, and none whose fold is being trained. NAME is the
name of a folder, such as fold_0_1a2b3c4d5e6f.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from glioflow.console import UserError, count
from glioflow.disk import amount
from glioflow.models.fold_state import ARCHIVE, locked

PATTERN = f"models/*/nnunet/results/*/*/{ARCHIVE}/fold_*"  # below the results folder


def find_archived(results: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folders of archived trainings, sorted, and how many bytes each takes."""
    for folder in sorted(path for path in results.glob(PATTERN) if path.is_dir() and not path.is_symlink()):
        yield folder, sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def delete_archived(folder: Path) -> None:
    """Delete an archived training. Raises UserError where another process trains its fold, and might take it back."""
    fold = "_".join(folder.name.split("_")[:2])
    with locked(folder.parents[1] / fold):
        shutil.rmtree(folder)


def main(arguments: list[str] | None = None) -> None:
    """Print the list, and delete what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the results folder of a study")
    parser.add_argument("--delete", action="store_true", help="delete what is listed")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="list, and delete, only these")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        sys.exit(f"{options.results}: there is no such folder; expected the results folder of a study")
    found = [each for each in find_archived(options.results) if not options.only or each[0].name in options.only]
    for folder, room in found:
        print(f"{amount(room):>10}  {folder}")
        try:
            if options.delete:
                delete_archived(folder)
        except UserError as error:
            sys.exit(str(error))
    total = amount(sum(room for _, room in found))
    done = "deleted" if options.delete else "in all; --delete frees them" if found else "found"
    print(f"{count(len(found), 'archived training')}, {total} {done}")


if __name__ == "__main__":
    main()
