"""Scoring starts fast: what draws, extracts features or trains is not loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("matplotlib", "radiomics", "torch", "SimpleITK", "nnunetv2")
SCORE = """
import numpy as np
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.scoring import Plan, score_pair
labels = np.pad(np.ones((2, 2, 2), np.uint8), 2)
for each in conventions().values():
    score_pair(labels, labels, (1, 1, 1), Plan(["WT"], each, lesions=each.lesions))
"""


@pytest.mark.parametrize("code", ["import glioflow.evaluation.scoring", "import score_folders", SCORE])
def test_scoring_loads_nothing_that_it_does_not_use(repo: Path, code: str) -> None:
    tell = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", tell], cwd=repo / "scripts", capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
