"""Texts of items and users, and texts as tokens."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from hybridrec.data.dataset import Relation
from hybridrec.data.text import Texts, item_texts, render, user_texts
from hybridrec.errors import DataError

PROMPTS = Path(__file__).parents[2] / "prompts"
ITEM, USER, QUERY = ((PROMPTS / f"{name}.j2").read_text() for name in ("item", "user", "query"))


def titled(data):
    n = data.counts["item"]
    table = pa.table(
        {"item_id": data.ids["item"].values, "title": [f"film {i}" for i in range(n)], "year": range(1950, 1950 + n)}
    )
    return replace(data, tables={"item": table})


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"title": "Heat", "year": 1995, "genres": "Action Crime"}, "Heat (1995). Genres: Action, Crime."),
        ({"title": "Heat (1995)", "year": 1995, "genres": "Action|Crime"}, "Heat (1995). Genres: Action, Crime."),
        ({"title": "Heat", "year": None, "genres": None, "plot": "A thief."}, "Heat. A thief."),
        ({"title": "", "year": 1995, "genres": "Drama"}, "(1995). Genres: Drama."),
        ({"title": "Polish", "categories": "Beauty > Nails"}, "Polish. Categories: Beauty > Nails."),
        ({"name": "Cafe", "categories": ["bar", "food"]}, "Cafe. Categories: bar, food."),
        ({"description": "Only this."}, "Only this."),
        ({}, ""),
    ],
)
def test_item_template_says_what_the_row_has(row, wanted):
    assert render(ITEM, [row]) == [wanted]


def test_query_template_is_the_prompt():
    assert render(QUERY, [{"prompt": "a {{ 7 * 7 }} drama"}]) == ["a {{ 7 * 7 }} drama"]


def test_what_a_cell_holds_is_never_run():
    assert render("{{ title }}", [{"title": "{{ 1 + 1 }}"}]) == ["{{ 1 + 1 }}"]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ title", "cannot be used"),
        ("{{ titel }}", "rows have"),
        ("{{ title.__class__.__mro__ }}", "cannot be used"),
        ("{{ 1 / year }}", "cannot be used"),
    ],
)
def test_faults_of_a_template_are_named(template, found):
    with pytest.raises(DataError, match=found):
        render(template, [{"title": "Heat", "year": 0}])


def test_items_without_a_table_are_refused(planted):
    with pytest.raises(DataError, match="no table of items"):
        item_texts(planted, ITEM)


def test_user_text_names_the_last_training_items_oldest_first(planted):
    data = titled(planted)
    history = data.histories()
    mine = history.item[history.offset[3] : history.offset[4]].tolist()
    wanted = "Someone who chose " + "; ".join(f"film {i}" for i in mine[-4:]) + "."
    assert user_texts(data, USER, most=4)[3] == wanted


def test_user_text_sees_training_rows_only(planted):
    data = titled(planted)
    before = user_texts(data, USER, most=100)
    # Held-out rows replaced by others, and then by none: no text may change.
    heldout = {name: replace(r, index=torch.stack([r.index[0], 39 - r.index[1]])) for name, r in data.heldout.items()}
    assert user_texts(replace(data, heldout=heldout), USER, most=100) == before
    assert user_texts(replace(data, heldout={}), USER, most=100) == before
    for part in data.heldout.values():
        for user, item in part.index.T.tolist():
            assert f"film {item};" not in before[user] and f"film {item}." not in before[user]


def test_a_user_without_history_or_table_has_a_text(planted):
    data = titled(planted)
    empty = replace(data, relations={"interact": Relation.empty("user", "item")})
    assert set(user_texts(empty, USER)) == {"Someone of whom nothing is known."}
    users = pa.table({"user_id": data.ids["user"].values, "age": [30] * 60})
    assert user_texts(replace(data, tables={**data.tables, "user": users}), "{{ user.age }}")[0] == "30"


def test_texts_are_taken_and_padded():
    texts = Texts.of([[5, 6, 7], [8], [9, 4]])
    assert len(texts) == 3 and texts.lengths.tolist() == [3, 1, 2]
    tokens, mask = texts.take(torch.tensor([2, 1])).padded(0)
    assert tokens.tolist() == [[9, 4], [8, 0]] and mask.tolist() == [[1, 1], [1, 0]]
