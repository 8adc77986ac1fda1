import pyarrow as pa
import pytest
import torch

from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.data.factors import column, popularity
from hybridrec.errors import DataError


def dataset(items, table=None):
    index = torch.tensor([[0] * len(items), items])
    tables = {} if table is None else {"item": pa.table(table)}
    ids = {"user": Ids(range(1)), "item": Ids(range(6))}
    return Dataset(ids, {"x": Relation("user", "item", index)}, "x", tables=tables, name="small")


def test_the_most_frequent_values_of_a_column_have_numbers_of_their_own():
    data = dataset([0], {"kind": ["b", "a", None, "a", "c", "b"], "many": [["x"], [], ["x", "y"], ["x"], ["x"], None]})
    assert column(data, "kind", 9).tolist() == [0, 1, 8, 1, 2, 0]
    assert column(data, "kind", 3).tolist() == [0, 1, 2, 1, 2, 0]
    assert column(data, "many", 4).tolist() == [0, 3, 1, 0, 0, 3]


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"no column 'genre' of items \(it has \['kind'\]\)"):
        column(dataset([0], {"kind": list("abcdef")}), "genre", 4)
    with pytest.raises(DataError, match="no column 'genre'"):
        column(dataset([0]), "genre", 4)


def test_bands_of_popularity_hold_as_many_items_each():
    # Counts 5, 0, 2, 1, 4, 3.
    items = [0] * 5 + [2] * 2 + [3] + [4] * 4 + [5] * 3
    assert popularity(dataset(items), 3).tolist() == [2, 0, 1, 0, 2, 1]
    # Four items of one count lie in the band of the second of them.
    assert popularity(dataset([0, 0, 1]), 6).tolist() == [5, 4, 1, 1, 1, 1]
