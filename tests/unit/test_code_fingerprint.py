import os

import pytest

from glioflow import code_fingerprint as module


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder of scripts in which ``step`` imports a shared module, which imports another."""
    (tmp_path / "glioflow").mkdir()
    (tmp_path / "step.py").write_text(
        '"""Doc."""\nfrom glioflow.shared import f\n\n\ndef g():\n    """Doc."""\n    return f()\n'
    )
    (tmp_path / "glioflow/__init__.py").write_text("")
    (tmp_path / "glioflow/shared.py").write_text("import other\n\n\ndef f():\n    return other.h()\n")
    (tmp_path / "other.py").write_text("def h():\n    return 1\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/page.html").write_text("<p>")
    monkeypatch.setattr(module, "SCRIPTS", tmp_path)
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fingerprint(**templates: str) -> str:
    for kept in (module._parsed, module._kept, module.code_fingerprint):
        kept.cache_clear()
    return module.code_fingerprint("step", **templates)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("step.py", 'from glioflow.shared import f  # a remark\n\n\n\ndef g():\n    """Other words."""\n    return f()\n'),
        ("unrelated.py", "x = 2\n"),
    ],
)
def test_remarks_docstrings_and_other_scripts_do_not_count(scripts, file, text):
    before = fingerprint()
    (scripts / file).write_text(text)
    assert fingerprint() == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("step.py", "from glioflow.shared import f\n\n\ndef g():\n    return -f()\n"),
        ("glioflow/shared.py", "import other\n\n\ndef f():\n    return -other.h()\n"),
        ("other.py", "def h():\n    return 2\n"),
    ],
)
def test_code_counts_wherever_it_is_imported_from(scripts, file, text):
    before = fingerprint()
    (scripts / file).write_text(text)
    assert fingerprint() != before


def test_templates_count_where_they_are_named(scripts):
    plain, with_pages = fingerprint(), fingerprint(templates="pages")
    assert plain != with_pages
    (scripts / "pages/page.html").write_text("<b>")
    assert fingerprint() == plain
    assert fingerprint(templates="pages") != with_pages


def test_what_was_parsed_is_kept_for_the_next_process_and_not_trusted_where_the_file_changed(scripts, monkeypatch):
    written = []
    monkeypatch.setattr(module.atexit, "register", written.append)
    before = fingerprint()
    written[-1]()
    monkeypatch.setattr(module, "_parse", lambda path: pytest.fail(f"{path} is parsed again"))
    assert fingerprint() == before
    monkeypatch.undo()
    monkeypatch.setattr(module, "SCRIPTS", scripts)
    monkeypatch.chdir(scripts)
    stat = (scripts / "other.py").stat()
    (scripts / "other.py").write_text("def h():\n    return 2\n")
    os.utime(scripts / "other.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint() != before


def test_a_damaged_record_of_what_was_parsed_is_made_anew(scripts):
    before = fingerprint()
    (scripts / ".snakemake/glioflow").mkdir()
    (scripts / ".snakemake/glioflow/parsed_code.json").write_text('{"torn')
    assert fingerprint() == before
