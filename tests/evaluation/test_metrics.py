"""Metrics by hand and against ranx."""

import math

import pytest
import torch

from hybridrec.evaluation.metrics import coverage, gini, per_user, self_information


def test_by_hand():
    # Targets at ranks 2 and 4 of 4 (three wanted), none found (one wanted), first rank (one wanted).
    hit = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    found = per_user(hit, torch.tensor([3, 1, 1]), (2, 4))
    expected = {
        "recall@2": [1 / 3, 0, 1],
        "recall@4": [2 / 3, 0, 1],
        "precision@2": [1 / 2, 0, 1 / 2],
        "precision@4": [2 / 4, 0, 1 / 4],
        "hit@2": [1, 0, 1],
        "mrr@2": [1 / 2, 0, 1],
        "mrr@4": [1 / 2, 0, 1],
        "map@2": [(1 / 2) / 3, 0, 1],
        "map@4": [(1 / 2 + 2 / 4) / 3, 0, 1],
        "ndcg@2": [(1 / math.log2(3)) / (1 + 1 / math.log2(3)), 0, 1],
        "ndcg@4": [(1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2), 0, 1],
    }
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values), name


def test_a_list_shorter_than_the_cut_off():
    """A catalogue of two items: precision is still over k, the ideal only over what can be named."""
    found = per_user(torch.tensor([[True, True]]), torch.tensor([2]), (5,))
    assert found["precision@5"].item() == pytest.approx(2 / 5)
    assert found["ndcg@5"].item() == pytest.approx(1)


def test_nothing_wanted_is_zero():
    found = per_user(torch.zeros(1, 3).bool(), torch.tensor([0]), (3,))
    assert all(x.tolist() == [0.0] for x in found.values())


@pytest.mark.filterwarnings("ignore")
def test_against_ranx(monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes a minute, forty users do not
    from ranx import Qrels, Run, evaluate

    random = torch.Generator().manual_seed(0)
    users, items, k = 40, 60, 20
    lists = torch.stack([torch.randperm(items, generator=random)[:k] for _ in range(users)])
    targets = [torch.randperm(items, generator=random)[: 1 + u % 25].tolist() for u in range(users)]
    hit = torch.tensor([[i in targets[u] for i in lists[u].tolist()] for u in range(users)])
    ours = per_user(hit, torch.tensor([len(t) for t in targets]), (5, 20))
    qrels = Qrels({str(u): {str(i): 1 for i in t} for u, t in enumerate(targets)})
    run = Run({str(u): {str(i): float(k - j) for j, i in enumerate(row.tolist())} for u, row in enumerate(lists)})
    names = {"recall": "recall", "precision": "precision", "hit": "hit_rate", "mrr": "mrr", "map": "map", "ndcg": "ndcg"}
    for name, theirs in names.items():
        for cut in (5, 20):
            value = evaluate(qrels, run, f"{theirs}@{cut}")
            assert ours[f"{name}@{cut}"].mean().item() == pytest.approx(value, abs=1e-12), name


def test_exposure():
    assert coverage(torch.tensor([3, 0, 1, 0])) == 0.5
    assert gini(torch.tensor([2, 2, 2])) == pytest.approx(0)
    assert gini(torch.tensor([0, 0, 0, 6])) == pytest.approx(3 / 4)
    x = torch.tensor([1.0, 4.0, 2.0, 7.0])  # the mean absolute difference over twice the mean
    assert gini(x) == pytest.approx(((x[:, None] - x).abs().mean() / (2 * x.mean())).item())


def test_self_information():
    assert self_information(torch.tensor([7, 0, 9]), 7).tolist() == pytest.approx([0, 3, 0])
