"""Views of texts."""

from hybridrec.views.text import WordDrop

ROWS = [{"title": "one two three four", "year": 1990}, {"title": None, "year": 1991}] * 200


def test_words_are_dropped_as_often_as_asked_and_nothing_else_changes():
    seen = WordDrop(whole=0.0, words=0.25)(ROWS)
    kept = [r["title"].split() for r in seen[::2]]
    assert abs(sum(map(len, kept)) / 800 - 0.75) < 0.05
    assert all(words == [w for w in ["one", "two", "three", "four"] if w in words] for words in kept)
    assert [r["year"] for r in seen] == [r["year"] for r in ROWS] and all(r["title"] is None for r in seen[1::2])
    assert ROWS[0]["title"] == "one two three four"


def test_whole_cells_go_and_other_columns_stay():
    seen = WordDrop(whole=0.5, words=0.0)(ROWS)
    assert {r["title"] for r in seen[::2]} == {"", "one two three four"}
    assert abs(sum(not r["title"] for r in seen[::2]) / 200 - 0.5) < 0.12
    assert WordDrop(columns=("plot",), whole=1.0)(ROWS) == ROWS


def test_a_seed_makes_a_view():
    assert WordDrop(seed=1)(ROWS) == WordDrop(seed=1)(ROWS) != WordDrop(seed=2)(ROWS)
