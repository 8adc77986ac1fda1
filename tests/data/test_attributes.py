"""Attributes of items, from whatever their table holds."""

from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from conftest import planted

from hybridrec.data.attributes import Attributes
from hybridrec.data.batches import Histories
from hybridrec.data.dataset import Dataset
from hybridrec.data.transitions import transitions
from hybridrec.errors import DataError

CELLS = ["A > B", "B > C", None, "  B>C ", "", "A > B > A"]


@pytest.fixture(scope="module")
def data():
    return planted(users=20, items=6, each=4, taste=0.5)


def told(data, cells, column="categories"):
    return replace(data, tables={"item": pa.table({"item_id": data.ids["item"].values, column: cells})})


def lists(found, items):
    h = found.of(torch.tensor(items))
    return [h.item[a:b].tolist() for a, b in zip(h.offset[:-1], h.offset[1:], strict=True)]


def test_cells_are_cut_and_attributes_numbered_by_frequency(data):
    found = Attributes(told(data, CELLS), "categories", " > ", 10)
    # B is in three cells, A in two; "B>C" has no blanks and is one name, and so is C.
    assert found.count == 4
    assert lists(found, range(6)) == [[1, 0], [0, 3], [], [2], [], [1, 0]]
    assert lists(found, [5, 2, 1]) == [[1, 0], [], [0, 3]]
    torch.testing.assert_close(found.odds.sigmoid(), (torch.tensor([3.0, 2, 1, 1]) + 0.5) / 7)


def test_only_the_most_frequent_count_and_lists_will_do(data):
    cells = [["A", "B"], ["B"], None, [], ["B", "A", None], ["C"]]
    found = Attributes(told(data, cells), "categories", ",", 2)
    assert found.count == 2 and lists(found, range(6)) == [[1, 0], [0], [], [], [0, 1], []]


def test_what_is_there_is_named(data):
    with pytest.raises(DataError, match=r"no table of items \(it has \[\]\).*do without attributes"):
        Attributes(data, "categories", ",", 2)
    with pytest.raises(DataError, match=r"no column 'genres' \(it has item_id, categories\).*do without attributes"):
        Attributes(told(data, CELLS), "genres", ",", 2)
    with pytest.raises(DataError, match="'categories' of its items is empty"):
        Attributes(told(data, pa.array([None] * 6, pa.string())), "categories", ",", 2)


def test_without_rows_it_is_empty(data):
    found = Attributes(Dataset.from_schema(data.schema), "categories", ",", 2)
    assert found.count == 0 and lists(found, [0, 5]) == [[], []]


def test_transitions_are_pairs_of_a_row_no_further_apart():
    history = Histories.lists([[1, 2, 3], [], [4], [5, 1, 2]])
    assert transitions(history).T.tolist() == [[1, 2], [2, 3], [5, 1], [1, 2]]
    assert transitions(history, 2).T.tolist()[4:] == [[1, 3], [5, 2]]
    assert transitions(Histories.lists([[], [7]]), 3).shape == (2, 0)
    assert torch.equal(transitions(history, 99), transitions(history, 2))
