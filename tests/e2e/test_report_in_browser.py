"""The report of a small study in a real browser, opened from disk: nothing complains, nothing leaves, everything acts."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bundles import build_bundle_study
from devtools import Page, open_page

from glioflow.cohorts.manifests import read_manifest
from glioflow.evaluation.conventions import conventions
from glioflow.failure.case_files import find_case_files
from glioflow.imaging.volumes import read_labels
from glioflow.models.predictions import read_predictions
from pack_volumes import Packing, pack

pytestmark = [pytest.mark.e2e, pytest.mark.long]

if reason := browser.skip_reason():
    pytestmark.append(pytest.mark.skip(reason=reason))

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
ROWS = "article.cases:not([hidden]) tbody tr"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bundle_study(tmp_path_factory) / "results"


@pytest.fixture
def page(results: Path) -> Iterator[Page]:
    with open_page(results / "report/index.html") as opened:
        yield opened
        assert opened.complaints == []
        assert opened.leaving == []


def cells(page: Page, column: str) -> list[str]:
    """Return the texts of a column of the first table of cases that is shown."""
    return list(
        page.run(
            "(() => { const t = document.querySelector('article.cases:not([hidden]) table');"
            f"const i = [...t.tHead.rows[0].cells].findIndex((c) => c.textContent === '{column}');"
            "return [...t.tBodies[0].rows].map((r) => r.cells[i].textContent); })()"
        )
    )


def heading(page: Page, column: str) -> str:
    """Return the selector of a column's button in the first table of cases."""
    place = page.run(
        "[...document.querySelector('article.cases table').tHead.rows[0].cells]"
        f".findIndex((c) => c.textContent === '{column}') + 1"
    )
    return f"article.cases thead th:nth-child({place}) button"


def test_the_script_shows_the_numbers_that_the_page_was_written_with(results: Path, page: Page) -> None:
    texts = "[...document.querySelectorAll('article.cases tr')].map((r) => [...r.cells].map((c) => c.textContent).join('|'))"
    with open_page(results / "report/index.html", scripts=False) as still:
        # Without scripts the page cannot be asked, so its document is read by the protocol.
        root = still.send("DOM.getDocument", depth=-1)["root"]
        rows = [row for article in found(root, "ARTICLE", "cases") for row in found(article, "TR")]
        written = ["|".join(text_of(cell) for cell in row["children"]) for row in rows]
    assert page.run(texts) == written
    assert len(written) > 30


def found(node: dict[str, Any], name: str, kind: str = "") -> list[dict[str, Any]]:
    """Return the elements of a name below a node, and of a class."""
    here = node["nodeName"] == name and (not kind or kind in node.get("attributes", []))
    return ([node] if here else []) + [each for child in node.get("children", []) for each in found(child, name, kind)]


def text_of(node: dict[str, Any]) -> str:
    own = str(node["nodeValue"]) if node["nodeName"] == "#text" else ""
    return own + "".join(text_of(child) for child in node.get("children", []))


def test_a_heading_sorts_by_full_value_up_then_down(results: Path, page: Page) -> None:
    dice = pd.read_csv(results / "scores/m/given.csv")["dice"]
    expected = [f"{value:.3f}" for value in sorted(dice.dropna())]
    page.click(heading(page, "Dice"))
    assert [text for text in cells(page, "Dice") if text != "–"] == expected
    page.click(heading(page, "Dice"))
    assert [text for text in cells(page, "Dice") if text != "–"] == expected[::-1]
    assert page.run("document.querySelectorAll('article.cases [aria-sort]').length") == 1


def test_filters_by_set_region_and_text_act_together(page: Page) -> None:
    page.choose("[name=set]", "n · given")
    assert page.run("[...document.querySelectorAll('article.cases:not([hidden])')].map((a) => a.dataset.set)") == ["n · given"]
    page.choose("[name=region]", "ET")
    assert set(cells(page, "Region")) == {"ET"}
    page.choose("[name=find]", "brain03")
    assert cells(page, "Case") == ["Brain03_visit"]
    assert page.run("document.querySelector('article.cases:not([hidden]) .counted').textContent").startswith("1 of 18 rows")
    page.choose("[name=find]", "no such case")
    assert cells(page, "Case") == []


def test_the_main_error_is_a_filter(results: Path, page: Page) -> None:
    kinds = page.run("[...document.querySelector('[name=main-error]').options].map((o) => o.value).filter(Boolean)")
    page.choose("[name=main-error]", kinds[0])
    assert set(cells(page, "Main error")) == {kinds[0]}


def test_a_covariate_is_a_filter(page: Page) -> None:
    levels = page.run("[...document.querySelectorAll('[name=covariate] optgroup[label=grade] option')].map((o) => o.value)")
    assert [json.loads(level) for level in levels] == [["grade", "2"], ["grade", "3"], ["grade", "4"]]
    page.choose("[name=covariate]", levels[0])
    assert set(cells(page, "Case")) == {"Brain00_visit", "Brain03_visit"}


def test_the_first_row_of_a_case_with_a_picture_has_a_small_copy_of_it(page: Page) -> None:
    page.choose("[name=set]", "m · given")
    page.wait(f"[...document.querySelectorAll('{ROWS} img')].every((i) => i.src.startsWith('data:image/jpeg'))", "pictures")
    rows = page.run(f"[...document.querySelectorAll('{ROWS} img')].map((i) => i.closest('th').textContent)")
    linked = page.run(f"[...new Set([...document.querySelectorAll('{ROWS} th a')].map((a) => a.textContent))]")
    assert sorted(rows) == sorted(linked) and len(rows) == 4


def test_a_click_on_an_extreme_case_opens_all_of_it(results: Path, page: Page) -> None:
    case = pd.read_csv(results / "failure/m/given/extremes.csv")["case_id"][0]
    page.choose("[name=find]", case)
    page.click(f"{ROWS} th a")
    page.wait("document.querySelector(':target details').open", "the case to open")
    assert page.run("document.querySelector(':target summary').textContent") == f"All of {case}"
    top = page.run("document.querySelector(':target').getBoundingClientRect().top")
    assert -2 < top < 900, "it is in the window"


def test_the_keyboard_reaches_filters_headings_and_cases(page: Page) -> None:
    page.run("document.querySelector('[name=set]').focus()")
    reached = []
    for _ in range(10):
        reached.append(
            page.run("document.activeElement.name || document.activeElement.textContent || document.activeElement.tagName")
        )
        page.press("Tab")
    assert reached[:5] == ["set", "region", "main-error", "covariate", "find"]
    assert {"Case", "Region"} <= set(reached)
    page.run(f"document.querySelector({heading(page, 'Dice')!r}).focus()")
    page.press("Enter")
    assert page.run("document.querySelector('article.cases [aria-sort]').textContent") == "Dice"


def test_a_desktop_window_shows_every_column_of_the_summary(page: Page) -> None:
    lost = page.run(
        "[...document.querySelectorAll('#in-short .scroll, #scores .scroll')].filter((e) => e.querySelector('table'))"
        ".filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.getAttribute('aria-label'))"
    )
    assert lost == []


@pytest.mark.parametrize("width", [1280, 390])
def test_no_window_scrolls_sideways_tables_scroll_in_their_frames(results: Path, width: int) -> None:
    with open_page(results / "report/index.html", width=width) as page:
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.complaints == []


def test_on_a_phone_the_first_column_stays_in_sight(results: Path) -> None:
    with open_page(results / "report/index.html", width=390) as page:
        left = page.run(
            "(() => { const f = document.querySelector('article.cases .scroll'); f.scrollLeft = 300; "
            "return [...f.querySelectorAll('tr > :first-child')].map((c) => "
            "Math.round(c.getBoundingClientRect().left - f.getBoundingClientRect().left)); })()"
        )
        assert set(left) <= {0, 1}


def test_of_a_large_cohort_only_the_rows_in_sight_are_in_the_page(results: Path, tmp_path: Path) -> None:
    """As many rows as 1251 cases of three regions have."""
    html = (results / "report/index.html").read_text()
    grown = (
        "<script>{ const s = document.querySelector('article.cases script'); const d = JSON.parse(s.textContent);"
        "d.rows = Array.from({length: 3753}, (_, i) => d.rows[i % d.rows.length].with(0, 'case' + i));"
        "s.textContent = JSON.stringify(d); }</script>"
    )
    last = html.rindex("<script>")
    (tmp_path / "large.html").write_text(html[:last] + grown + html[last:])
    with open_page(tmp_path / "large.html") as page:
        assert page.run(f"document.querySelectorAll('{ROWS}').length") < 300
        page.choose("[name=find]", "case3752")
        assert cells(page, "Case") == ["case3752"]
        page.choose("[name=find]", "")
        page.run("document.querySelector('article.cases .scroll').scrollTop = 1e6")
        page.wait("document.querySelectorAll('article.cases tbody tr').length >= 100", "more rows")


# ---- the viewer


def turned(page: Page, place: int = 0) -> None:
    """Open the viewer of a case and wait until it is drawn."""
    page.run(f"document.querySelectorAll('button.turn')[{place}].click()")
    page.wait("document.querySelector('.viewer[data-ready]') !== null", "the viewer")
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


VIEWER = "document.querySelector('.viewer[data-ready]').viewer"


def cross(page: Page) -> list[float]:
    """Return where the viewer's cross is, in mm."""
    return [
        float(value) for value in page.run(f"[...{VIEWER}.nv.frac2mm({VIEWER}.nv.scene.crosshairPos, 0, true)].slice(0, 3)")
    ]


def drawn(page: Page) -> dict[str, int]:
    """Return how many colours the canvas has, and a number that changes with what is drawn."""
    return dict(
        page.run(
            f"(() => {{ const c = document.createElement('canvas'); const v = {VIEWER}; v.nv.drawScene();"
            "c.width = v.canvas.width; c.height = v.canvas.height; const g = c.getContext('2d'); g.drawImage(v.canvas, 0, 0);"
            "const d = g.getImageData(0, 0, c.width, c.height).data; let sum = 0; const colours = new Set();"
            "for (let i = 0; i < d.length; i += 4) { const k = (d[i] << 16) | (d[i + 1] << 8) | d[i + 2]; colours.add(k);"
            "sum = (sum * 31 + k) % 1000000007; } return { colours: colours.size, sum }; })()"
        )
    )


def test_the_canvas_shows_the_case_and_changes_on_scroll(page: Page) -> None:
    turned(page)
    page.choose("[name=view]", "Axial")
    before = drawn(page)
    assert before["colours"] > 20
    page.wheel(".viewer-frame canvas", 120)
    page.wait(lambda: drawn(page)["sum"] != before["sum"], "another slice", seconds=10)


def test_the_button_moves_the_cross_to_the_ends_of_the_hausdorff_distance(results: Path, page: Page) -> None:
    extremes = pd.read_csv(results / "failure/m/given/extremes.csv")
    witnesses = pd.read_csv(results / "failure/m/given/witnesses.csv")
    row = witnesses[(witnesses["case_id"] == extremes["case_id"][0]) & (witnesses["label"] == "WT")].iloc[0]
    far, near = row["measured_from"], {"truth": "prediction", "prediction": "truth"}[row["measured_from"]]
    turned(page)
    for end in (near, far, near):  # it opens at the far end
        page.click("[name=witness]")
        assert cross(page) == pytest.approx([row[f"{end}_{axis}_mm"] for axis in "xyz"], abs=0.01)
        said = page.run("document.querySelector('.viewer-place').textContent")
        assert said.startswith(f"WT: {row['length_mm']:.1f} mm between the {end} here")
        here = page.run("document.querySelector('.viewer-here').textContent")
        assert f"{end} none" not in here, "the point is in its mask"


def test_the_buttons_move_the_cross_to_the_largest_wrong_parts(page: Page) -> None:
    turned(page)
    for name, other in (("false", "truth"), ("missed", "prediction")):
        if page.run(f"document.querySelector('[name={name}]').disabled"):
            continue
        page.click(f"[name={name}]")
        expected = page.run(f"{VIEWER}.data.places.WT['{name}'].mm")
        assert cross(page) == pytest.approx(expected, abs=0.01)
        assert f"{other} none" in page.run("document.querySelector('.viewer-here').textContent")


def test_channel_region_window_opacity_and_view_change_what_is_drawn(page: Page) -> None:
    turned(page)
    sums = [drawn(page)["sum"]]
    for field, value in (
        ("channel", "t2"),
        ("light", "0.3"),
        ("outlines", "0"),
        ("errors", "1"),
        ("view", "Coronal"),
        ("view", "Render"),
    ):
        page.choose(f".viewer-bar [name={field}]", value)
        page.wait(lambda: drawn(page)["sum"] != sums[-1], f"{field} {value} to act", seconds=20)
        sums.append(drawn(page)["sum"])


@pytest.fixture
def uncertain(results: Path, tmp_path: Path) -> Path:
    """The report, its first case packed with a map of 0.5 bit in a cube around the far end of its Hausdorff distance."""
    report = tmp_path / "report"
    shutil.copytree(results / "report", report)
    case = str(pd.read_csv(results / "failure/m/given/extremes.csv")["case_id"][0])
    manifest = read_manifest(results / "cohorts/c/manifest.csv")
    predictions = read_predictions(results / "predictions/m/given/predictions.csv")
    files = {role: find_case_files([case], manifest, predictions, role)[0] for role in ("t1", "flair")}
    truth = read_labels(files["flair"].truth)
    bits = np.full(truth.data.shape, 128, np.uint8)
    bits[:, :, :2] = 0
    image = nib.Nifti1Image(bits, truth.affine)
    image.header.set_slope_inter(1 / 255, 0)
    nib.save(image, tmp_path / "map.nii.gz")
    target = report / "viewer/m/given/worst_01.js"
    pack(Packing(files, target, ("WT",), conventions()["glioflow"], tmp_path / "map.nii.gz", processed=True))
    return report / "index.html"


def test_uncertainty_is_laid_over_the_slices_and_told_in_bits(uncertain: Path) -> None:
    with open_page(uncertain) as page:
        turned(page)
        before = drawn(page)
        assert page.run("document.querySelector('.viewer-here').textContent").endswith(" · entropy 0.5 bit")
        assert "network's probabilities before post-processing" in page.run(
            "document.querySelector('.viewer .viewer-legend').textContent"
        )
        page.choose(".viewer-bar [name=outlines]", "0")
        page.choose(".viewer-bar [name=errors]", "0")
        plain = drawn(page)
        page.choose(".viewer-bar [name=uncertainty]", "1")
        page.wait(lambda: drawn(page)["sum"] != plain["sum"], "the map", seconds=20)
        covered = drawn(page)
        page.choose(".viewer-bar [name=outlines]", "1")
        page.wait(lambda: drawn(page)["sum"] != covered["sum"], "outlines on the map", seconds=20)
        page.choose(".viewer-bar [name=errors]", "0.4")
        page.choose(".viewer-bar [name=uncertainty]", "0")
        page.wait(lambda: drawn(page)["sum"] == before["sum"], "the first picture", seconds=20)
        assert page.complaints == []


def test_a_case_without_a_map_has_no_slider_of_it(page: Page) -> None:
    turned(page)
    assert page.run("document.querySelector('.viewer-bar [name=uncertainty]')") is None
    assert "entropy" not in page.run("document.querySelector('.viewer').textContent")


def test_one_case_is_turned_at_a_time_and_a_second_click_closes_it(page: Page) -> None:
    turned(page)
    page.run("document.querySelectorAll('button.turn')[1].click()")
    page.wait("document.querySelectorAll('.viewer canvas').length === 1", "the first to close")
    page.wait("document.querySelectorAll('.viewer')[1].dataset.ready !== undefined", "the second to open")
    page.run("document.querySelectorAll('button.turn')[1].click()")
    page.wait("document.querySelectorAll('.viewer canvas').length === 0", "it to close")


def test_without_webgl_the_pictures_stay_and_the_button_says_why(results: Path) -> None:
    with open_page(results / "report/index.html", webgl=False) as page:
        assert page.run("[...document.querySelectorAll('button.turn')].every((b) => b.disabled && /WebGL/.test(b.title))")
        assert page.run("document.querySelectorAll('.gallery img').length") > 0


def test_a_page_without_its_folder_says_so(results: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.html").write_text((results / "report/index.html").read_text())
    with open_page(tmp_path / "alone.html") as page:
        page.click("button.turn")
        page.wait("/belong together/.test(document.querySelector('.viewer').textContent)", "the message")


# ---- everybody reads it


def found_by_axe(page: Page) -> list[str]:
    """Return each serious or critical issue that axe-core finds on the page as it is, with the first element that has it."""
    return list(
        page.run(
            "axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations"
            ".filter((v) => ['serious', 'critical'].includes(v.impact))"
            ".map((v) => `${v.impact} ${v.id}: ${v.nodes.length}, first ${v.nodes[0].html.slice(0, 200)}`))"
        )
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_also_with_a_viewer_and_a_case_opened(results: Path, width: int) -> None:
    with open_page(results / "report/index.html", width=width) as page:
        page.run(f"{AXE};0")
        assert found_by_axe(page) == []
        turned(page)
        page.click(".case summary")
        page.wait("document.querySelector('.case details').open", "the case to unfold")
        assert found_by_axe(page) == []


# ---- scatter plots


def spread(page: Page, column: str) -> list[float]:
    """Return a property of every point, in the order of the cases."""
    return list(page.run(f"[...document.querySelectorAll('.scatter circle')].map((c) => Number(c.getAttribute('{column}')))"))


def test_points_are_where_the_tables_put_them_and_lead_to_their_cases(results: Path, page: Page) -> None:
    scores = pd.read_csv(results / "scores/m/given.csv")
    scores = scores[scores["label"] == "TC"].reset_index(drop=True)
    page.choose("[name=explore-region]", "TC")
    page.choose("[name=explore-x]", "Dice")
    page.choose("[name=explore-y]", "ASSD (mm)")
    across, up = pd.Series(spread(page, "cx")), pd.Series(spread(page, "cy"))
    assert len(across) == len(scores) == 6
    assert across.corr(scores["dice"]) == pytest.approx(1)
    assert up.corr(scores["assd_mm"]) == pytest.approx(-1), "large values are high up, where y is small"
    page.run("document.querySelector('.scatter a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    page.wait("document.querySelector(':target.case details')?.open === true", "the case")


def test_axes_take_covariates_and_features_and_colours_tell_groups(page: Page) -> None:
    options = "[...document.querySelector('[name=explore-{}]').options].map((o) => o.value)"
    numbers = page.run(options.format("x"))
    assert {"Dice", "Hausdorff (mm)", "grade"} <= set(numbers) and any("(shape)" in name for name in numbers)
    before = spread(page, "cx")
    page.choose("[name=explore-x]", next(name for name in numbers if "(shape)" in name))
    assert spread(page, "cx") != before
    page.choose("[name=explore-colour]", "Main error")
    words = page.run("[...document.querySelectorAll('#explore-plot .viewer-legend span')].map((s) => s.textContent)")
    colours = page.run("new Set([...document.querySelectorAll('.scatter circle')].map((c) => c.getAttribute('fill'))).size")
    assert len(words) == colours >= 1
