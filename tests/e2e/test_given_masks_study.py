"""Another tool's masks of ten cases of BraTS 2018, from files to the report: it says that the worst cases are false islands."""

import re
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
import yaml
from devtools import open_page
from workflows import copy_checkout, snakemake

from glioflow.failure.failure_types import KINDS

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.real_data]

PATTERNS = {
    channel: f"{{case}}/{{case}}_{name}.nii.gz" for channel, name in [("t1ce", "t1ce"), ("flair", "flair"), ("label", "seg")]
}


@pytest.fixture(scope="module")
def results(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the study after it ran."""
    data = real_data / "brats2018_given"
    if not data.is_dir():
        pytest.skip(f"no real masks: {data} is missing; set GLIOFLOW_REAL_DATA to the folder that holds it")
    root = tmp_path_factory.mktemp("given")
    masks = {"cohort": "brats2018", "predictions": f"{data}/predictions/{{case}}.nii.gz", "label_scheme": "brats2023"}
    cohort = {"dataset": "folders", "path": str(data), "files": PATTERNS, "label_scheme": "brats2021", "external": True}
    study = {"cohorts": {"brats2018": cohort}, "models": {"given": masks}, "failure": {"extremes": 5}}
    (root / "study.yaml").write_text(yaml.safe_dump({"results": str(root / "results"), **study}))
    run = snakemake(copy_checkout(root / "glioflow"), "--quiet", "rules", "--configfile", str(root / "study.yaml"))
    assert run.returncode == 0, run.stdout
    return root / "results"


@pytest.fixture(scope="module")
def types(results: Path) -> pd.DataFrame:
    return pd.read_csv(results / "failure/given/given/failure_types.csv")


def test_the_report_says_that_the_worst_cases_are_false_islands(results):
    page = re.sub(r"\s+", " ", (results / "report/index.html").read_text()).replace("\u00a0", " ")
    sentence = (
        "In each of the 5 worst cases, the Hausdorff distance of WT is set by one false island of at most 0.008 ml, "
        "77–108 mm from the truth; their Dice is 0.682–0.954. "
        "In each of the 5 best cases it is set by one of this kind as well, 33–76 mm away."
    )
    assert page.count(sentence) == 2, "in the summary, and with the failures"
    assert "What is wrong in WT of the worst cases of given · given." in page


def test_the_farthest_error_is_what_the_scores_distance_is_set_by(results, types):
    scores = pd.read_csv(results / "scores/given/given.csv")
    both = types.merge(scores, on=["case_id", "label"], suffixes=("", "_scored"))
    assert len(both) == 30
    np.testing.assert_allclose(both["farthest_mm"], both["hausdorff"])
    np.testing.assert_allclose(both["dice"], both["dice_scored"])
    np.testing.assert_allclose(both[[f"share_{kind}" for kind in KINDS]].sum(axis=1), 1 - both["dice"])
    worst = types[types["label"] == "WT"].sort_values("farthest_mm").iloc[-1]
    assert (worst["case_id"], round(worst["farthest_mm"]), round(worst["dice"], 2)) == ("Brats18_2013_23_1", 108, 0.95)
    assert worst["share_false_lesion"] < 0.01, "what sets its distance costs next to nothing of the Dice"


def test_the_confusion_holds_the_volumes_of_the_cohort(results):
    confusion = pd.read_csv(results / "failure/given/given/confusion.csv")
    by_label = confusion.groupby("true_label")["ml"].sum()
    manifest = pd.read_csv(results / "cohorts/brats2018/manifest.csv")
    assert by_label.sum() == pytest.approx(10 * 240 * 240 * 155 / 1000)
    for label in ("NCR", "ED", "ET"):
        assert by_label[label] == pytest.approx(manifest[f"volume_{label}_ml"].sum())


def test_the_witness_of_every_extreme_case_is_as_long_as_its_score(results: Path) -> None:
    witnesses = pd.read_csv(results / "failure/given/given/witnesses.csv")
    scores = pd.read_csv(results / "scores/given/given.csv")
    both = witnesses.merge(scores, on=["case_id", "label"])
    assert len(both) == 30
    np.testing.assert_allclose(both["distance"], both["hausdorff"], atol=1e-6)
    ends = [both[[f"{side}_{axis}_mm" for axis in "xyz"]].to_numpy() for side in ("truth", "prediction")]
    np.testing.assert_allclose(np.linalg.norm(ends[0] - ends[1], axis=1), both["hausdorff"], atol=1e-6)


def test_the_volumes_of_the_viewer_stay_small(results: Path) -> None:
    sizes = pd.read_csv(results / "report/viewer/given/given/volumes.csv")["bytes"]
    # Of two channels; the masks take about a third. Forty cases of four channels may take 30 MB.
    assert len(sizes) == 10 and sizes.mean() < 30e6 / 40 * 2 / 3


def test_the_worst_case_is_understood_in_a_browser(results: Path) -> None:
    if reason := browser.skip_reason():
        pytest.skip(reason)
    witnesses = pd.read_csv(results / "failure/given/given/witnesses.csv")
    worst = witnesses[(witnesses["case_id"] == "Brats18_2013_23_1") & (witnesses["label"] == "WT")].iloc[0]
    with open_page(results / "report/index.html") as page:
        page.click("article.cases tbody th a[href$=Brats18_2013_23_1]")
        page.click(":target button.turn")
        page.wait("document.querySelector(':target .viewer[data-ready]') !== null", "the viewer")
        viewer = "document.querySelector(':target .viewer').viewer.nv"
        mm = page.run(f"((nv) => [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3))({viewer})")
        assert mm == pytest.approx([worst[f"prediction_{axis}_mm"] for axis in "xyz"], abs=0.01)
        assert page.run("document.querySelector(':target .viewer-place').textContent") == (
            "WT: 108.0 mm between the prediction here and the truth."
        )
        assert "prediction ET, false island" in page.run("document.querySelector(':target .viewer-here').textContent")
        assert page.complaints == page.leaving == []
