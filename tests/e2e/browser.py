"""Opens a page in headless Chromium, without a network: a screenshot to look at, or the page as its own script left it.

    if reason := browser.skip_reason():
        pytest.skip(reason)
    browser.take_screenshot(page, picture)

From a shell: ``python tests/e2e/browser.py results/report/index.html report.png [width [height]]``. It needs Debian's package
chromium, and a fresh profile is made for every call.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S = 120
# No name is ever resolved: a page that loads something from a network shows a hole instead.
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def find_chromium() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    return next((path for program in PROGRAMS if (path := shutil.which(program))), None)


def skip_reason() -> str | None:
    """Return why a test that needs a browser cannot run, None where it can."""
    return None if find_chromium() else f"needs a browser: none of {', '.join(PROGRAMS)} is installed"


def take_screenshot(page: Path, picture: Path, width: int = 1280, height: int = 4000) -> None:
    """Write the page's first ``height`` pixels at a window ``width`` pixels wide as PNG."""
    picture.unlink(missing_ok=True)
    _run(page, [f"--window-size={width},{height}", f"--screenshot={picture.resolve()}"])
    if not picture.exists():
        raise RuntimeError(f"{page}: Chromium wrote no screenshot")


def dump_dom(page: Path) -> str:
    """Return the page's HTML once it is loaded and its script has run."""
    return _run(page, ["--dump-dom"])


def _run(page: Path, flags: list[str]) -> str:
    program = find_chromium()
    if program is None:
        raise RuntimeError(skip_reason())
    # Chromium's sandbox refuses to run as root, as in a container.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, *sandbox, f"--user-data-dir={profile}", *flags, page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{page}: Chromium ended with status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    shown, written, *size = sys.argv[1:]
    width, height = (int(text) for text in [*size, *("1280", "4000")[len(size) :]])
    take_screenshot(Path(shown), Path(written), width, height)
