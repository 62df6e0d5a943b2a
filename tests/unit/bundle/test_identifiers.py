"""Places, names and ids: what is written in their place, and what is left alone."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.bundle.identifiers import Identifiers, Pseudonyms, known_names, read_key
from glioflow.console import UserError

KEY = b"k" * 64
PATIENTS = {"UPENN-001_11": "UPENN-001", "UPENN-001_21": "UPENN-001", "UPENN-0012_11": "UPENN-0012", "7": "7"}


@pytest.fixture
def plain() -> Identifiers:
    return Identifiers({"/data/My Brats": "inputs/c", "/data": "inputs/d"}, {"jane.doe", "node17"}, None, {"MRN88"})


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/data/My Brats/a/x.nii: unreadable", "inputs/c/a/x.nii: unreadable"),
        ("see /data/z.csv, /home/bob/q.csv.", "see inputs/d/z.csv, q.csv."),
        ("'/home/bob/data/x.nii'", "'x.nii'"),
        (r"C:\Users\bob\x.csv", "x.csv"),
        ("~bob/x.csv and ~/y.csv", "x.csv and y.csv"),
        ("by Jane.Doe on node17", "by [name] on [name]"),
        ("mail jane@clinic.org now", "mail [address] now"),
        ("https://doi.org/10.1038/s41592 and/or 1/2/4 </td>", "https://doi.org/10.1038/s41592 and/or 1/2/4 </td>"),
        ("results/scores/m/given.csv 2.5 mm/s", "results/scores/m/given.csv 2.5 mm/s"),
        ("xnode171 node170", "xnode171 node170"),
    ],
)
def test_places_and_names_do_not_leave_and_other_texts_stay(plain, text, shared):
    assert plain.text(text) == shared


def test_free_text_shows_no_withheld_value_and_no_path_that_climbs(plain):
    assert plain.free("MRN88 at ../../home/x.csv") == "[withheld] at x.csv"
    assert plain.text("MRN88") == "MRN88"


def test_a_case_begins_with_its_patient_and_ids_are_found_within_words():
    names = Pseudonyms(PATIENTS, KEY)
    one, other = names.text("UPENN-001_11_t1.nii.gz UPENN-001_21"), names.names["UPENN-001"]
    assert re.fullmatch(rf"{other}_[0-9a-f]{{6}}_t1\.nii\.gz {other}_[0-9a-f]{{6}}", one)
    assert names.text("UPENN-0012_11").startswith(names.names["UPENN-0012"])
    assert names.text("UPENN-00123 XUPENN-001") == "UPENN-00123 XUPENN-001"
    assert names.text("7 voxels") == "7 voxels" and names.id("7") == names.names["7"]


def test_pseudonyms_are_stable_under_a_key_and_tell_nothing_without_it():
    assert Pseudonyms(PATIENTS, KEY).names == Pseudonyms(dict(reversed(PATIENTS.items())), KEY).names
    assert not set(Pseudonyms(PATIENTS, KEY).names.values()) & set(Pseudonyms(PATIENTS, b"o" * 64).names.values())


@given(st.dates(min_value=__import__("datetime").date(1950, 1, 1)), st.dates(min_value=__import__("datetime").date(1950, 1, 1)))
def test_dates_of_a_patient_keep_their_distance(one, other):
    from datetime import date

    names = Pseudonyms(PATIENTS, KEY)
    try:
        moved = [date.fromisoformat(names.shift(day.isoformat(), "UPENN-001")) for day in (one, other)]
    except ValueError:
        return
    if abs((one - date(9999, 12, 31)).days) > 366 and abs((other - date(9999, 12, 31)).days) > 366:
        assert moved[0] - moved[1] == one - other and 1 <= abs((moved[0] - one).days) <= 365


def test_a_date_in_another_order_is_left_out():
    assert Pseudonyms(PATIENTS, KEY).shift("seen 03/04/2019", "7") == "seen [date]"
    assert Pseudonyms(PATIENTS, KEY).shift("1.5 ml", "7") == "1.5 ml"


def test_a_key_is_made_once_readable_to_its_owner_alone(tmp_path: Path):
    key = read_key(tmp_path / "key")
    assert key == read_key(tmp_path / "key") and len(key) == 64
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    (tmp_path / "short").write_text("abc")
    with pytest.raises(UserError, match="holds 3 characters"):
        read_key(tmp_path / "short")


def test_owners_of_home_folders_are_names_and_root_is_nobody(monkeypatch):
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LOGNAME", "jdoe4711")
    assert {"jdoe4711", "mrossi"} <= known_names(["/home/mrossi/data", "/data/x"]) and "root" not in known_names()
