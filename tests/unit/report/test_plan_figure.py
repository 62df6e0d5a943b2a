"""The picture of a plan has every rule below those that it reads, and no line that others tell already."""

from glioflow.report.plan_figure import draw_plan, needed_links, place_rules, rows_of

READS = {"a": [], "b": ["a"], "c": ["a", "b"], "d": ["a", "c"], "e": ["b"], "f": ["d", "a", "e"]}


def test_a_line_that_others_tell_is_left_out() -> None:
    assert needed_links(READS) == [("a", "b"), ("b", "c"), ("c", "d"), ("b", "e"), ("d", "f"), ("e", "f")]


def test_a_rule_stands_below_all_that_it_reads() -> None:
    rows = rows_of(READS)
    assert rows == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 2, "f": 4}
    assert all(rows[maker] < rows[rule] for rule, makers in READS.items() for maker in makers)


def test_a_long_line_passes_every_row_between_and_nothing_stands_on_another() -> None:
    places, lines = place_rules(READS)
    assert ["e", ("e", "f", 3), "f"] in lines
    assert len(set(places.values())) == len(places)
    assert all(0 < x < 1 for x, _ in places.values())


def test_the_picture_names_every_rule_and_how_many_jobs_it_has() -> None:
    figure = draw_plan(READS, {**dict.fromkeys(READS, 1), "c": 12})
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["a", "b", "c × 12", "d", "e", "f"]


def test_a_plan_of_one_rule_is_drawn() -> None:
    assert [text.get_text() for text in draw_plan({"a": []}, {"a": 1}).axes[0].texts] == ["a"]
