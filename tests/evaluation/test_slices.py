"""Bands and slices by hand."""

import pytest
import torch
from cases import Table, dataset

from hybridrec.evaluation.ranking import evaluate
from hybridrec.evaluation.slices import bands


def test_bands_hold_equal_weight_and_never_part_equal_counts():
    count = torch.tensor([0, 1, 1, 1, 1, 4, 8])
    labels, band = bands(count, count, 2)
    assert labels == ["0", "1-4", "5-8"]
    assert band.tolist() == [0, 1, 1, 1, 1, 1, 2]
    labels, band = bands(torch.tensor([3, 3, 3, 7]), torch.ones(4).long(), 4)
    assert labels == ["0", "1-3", "4-7"] and band.tolist() == [1, 1, 1, 2]
    labels, band = bands(torch.tensor([1, 2]), torch.ones(2).long(), 2)
    assert labels == ["0", "1", "2"] and band.tolist() == [1, 2]
    labels, band = bands(torch.tensor([0, 0]), torch.tensor([0, 0]), 3)
    assert labels == ["0"] and band.tolist() == [0, 0]


def test_slices_by_hand():
    # Item 0 is chosen three times in training, item 1 once, items 2 and 3 never (cold). User 3 has no training row (cold).
    data = dataset(4, 5, train=[(0, 0), (1, 0), (1, 1), (2, 0), (2, 4)], test=[(0, 1), (0, 2), (1, 3), (2, 2), (3, 0), (3, 2)])
    scores = torch.tensor([[9.0, 8, 7, 0, 0], [9, 9, 5, 4, 6], [0, 5, 3, 4, 0], [1, 2, 9, 0, 0]])
    result = evaluate(Table(scores), data, ks=(2,))
    # Lists: user 0: 1, 2; user 1: 4, 2; user 2: 1, 3; user 3 (seen nothing): 2, 1.
    assert result.lists.tolist() == [[1, 2], [4, 2], [1, 3], [2, 1]]
    popularity = result.slices["popularity"]
    assert list(popularity) == ["0", "1", "2-3"]
    assert (popularity["0"]["users"], popularity["0"]["targets"]) == (4, 4)
    assert popularity["0"]["recall@2"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert (popularity["1"]["users"], popularity["1"]["recall@2"]) == (1, 1.0)
    assert (popularity["2-3"]["users"], popularity["2-3"]["recall@2"]) == (1, 0.0)
    history = result.slices["history"]
    assert list(history) == ["0", "1", "2"]
    assert (history["0"]["users"], history["0"]["recall@2"]) == (1, 0.5)
    assert (history["1"]["users"], history["1"]["recall@2"]) == (1, 1.0)
    assert (history["2"]["users"], history["2"]["recall@2"]) == (2, 0.0)


def test_history_slices_average_to_the_whole():
    data = dataset(
        6, 8, train=[(u, i) for u in range(6) for i in range(u)], test=[(u, i) for u in range(6) for i in range(u, 8, 2)]
    )
    result = evaluate(Table(torch.rand(6, 8)), data, ks=(3,))
    parts = result.slices["history"].values()
    assert sum(p["users"] * p["ndcg@3"] for p in parts) / 6 == pytest.approx(result.metrics["ndcg@3"])
    assert sum(p["targets"] for p in result.slices["popularity"].values()) == len(data.part("test"))
