"""What import-linter cannot see: scripts are run, and nothing imports one."""

import ast
import re
from pathlib import Path

from conftest import REPO

SCRIPTS = REPO / "scripts"


def imported(path: Path) -> set[str]:
    """Return the top-level modules that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.partition(".")[0] for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    }


def test_nothing_imports_a_script():
    scripts = {path.stem for path in SCRIPTS.glob("*.py")}
    assert len(scripts) > 25
    found = {path.relative_to(SCRIPTS).as_posix(): imported(path) & scripts for path in SCRIPTS.rglob("*.py")}
    assert {name: names for name, names in found.items() if names} == {}


def test_every_rule_has_a_script_of_its_name():
    rules = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    by_hand = {"score_folders", "list_archived", "verify_bundle", "rerun_from_bundle", "publish_bundle"}
    for script in sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem not in by_hand):
        assert re.search(rf"^(rule|checkpoint) {script}:", rules, re.MULTILINE) and f'"../scripts/{script}.py"' in rules, script
