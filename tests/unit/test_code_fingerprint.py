import pytest

from glioflow import code_fingerprint as codeprint


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
    monkeypatch.setattr(codeprint, "SCRIPTS", tmp_path)
    return tmp_path


def fingerprint(**templates: str) -> str:
    codeprint._parse.cache_clear()
    codeprint.code_fingerprint.cache_clear()
    return codeprint.code_fingerprint("step", **templates)


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
