"""Rows of weights: recency by hand, repeats, products against dense matrices."""

import pytest
import torch

from hybridrec.data.batches import Histories
from hybridrec.errors import DataError
from hybridrec.rows import ItemWeights, Recency, UnsolvedError, multiply, timed, weigh
from hybridrec.saving import build, describe, load_state, state


def test_recency_falls_with_every_step_back():
    history = Histories.lists([[4, 1, 3], [], [2]])
    assert weigh(history).tolist() == [1, 1, 1, 1]
    assert torch.allclose(weigh(history, Recency(0.5)), torch.tensor([0.25, 0.5, 1, 1]))


def test_of_a_repeat_only_the_latest_entry_counts():
    history = Histories.lists([[4, 1, 4], [4, 1]])
    assert weigh(history).tolist() == [0, 1, 1, 1, 1]
    assert torch.allclose(weigh(history, Recency(0.5)), torch.tensor([0, 0.5, 1, 0.5, 1]))
    assert torch.allclose(history.dense(5, Recency(0.5)(history)), _dense(history, 5, Recency(0.5)))


def test_decay_outside_its_range_is_refused():
    for decay in (0, -0.1, 1.1):
        with pytest.raises(ValueError, match="decay"):
            Recency(decay)


def test_recency_is_saved_as_an_argument():
    assert build(describe(Recency(0.6))).decay == 0.6


def test_recency_without_time_is_an_error(planted):
    from dataclasses import replace

    timed(planted, Recency())
    relations = {"interact": replace(planted.train, time=None)}
    untimed = replace(planted, relations=relations)
    timed(untimed, None)
    with pytest.raises(DataError, match="no time in 'interact'"):
        timed(untimed, Recency())


def test_multiply_is_the_dense_product():
    torch.manual_seed(0)
    history, matrix = Histories.lists([[0, 3, 3], [], [2, 4, 1]]), torch.randn(5, 7)
    for recency in (None, Recency(0.5)):
        assert torch.allclose(multiply(history, matrix, recency), _dense(history, 5, recency) @ matrix)
    assert multiply(Histories.lists([[], []]), matrix).tolist() == [[0.0] * 7] * 2
    with pytest.raises(UnsolvedError, match="fit"):
        multiply(history, torch.empty(0))


@pytest.mark.parametrize("density", [0.01, 0.5])
def test_item_weights_are_the_dense_product_sparse_or_not(density):
    from scipy.sparse import random

    matrix = random(80, 80, density, random_state=0, dtype="float32", format="csr")
    weights = ItemWeights()
    weights.fill(matrix)
    assert bool(len(weights.offset)) == (density < 1 / 32)
    torch.manual_seed(0)
    history = Histories.lists([torch.randint(80, (n,)).tolist() for n in (5, 0, 40)])
    for recency in (None, Recency(0.5)):
        wanted = _dense(history, 80, recency) @ torch.from_numpy(matrix.toarray())
        assert torch.allclose(weights(history, recency), wanted, atol=1e-6)
    again = ItemWeights()
    load_state(again, state(weights))
    assert torch.equal(again(history), weights(history))
    with pytest.raises(UnsolvedError):
        ItemWeights()(history)


def _dense(history, items, recency):
    row = torch.zeros(len(history.offset) - 1, items)
    for b in range(len(row)):
        chosen = history.item[history.offset[b] : history.offset[b + 1]].tolist()
        for t, item in enumerate(chosen):
            row[b, item] = 1 if recency is None else recency.decay ** (len(chosen) - 1 - t)
    return row
