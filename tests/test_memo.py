import copy

import pytest
import torch
from torch import nn

from hybridrec.memo import Memo

OPTIMIZERS = [
    lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
    lambda p: torch.optim.SGD(p, lr=0.1, fused=True),
    lambda p: torch.optim.SGD(p, lr=0.1),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_step_of_any_optimizer_is_seen(make):
    layer, memo, calls = nn.Linear(3, 2), Memo(), []

    def compute():
        calls.append(1)
        return layer.weight.sum().clone()

    optimizer = make(layer.parameters())
    before = memo(layer, compute)
    assert memo(layer, compute) is before and len(calls) == 1
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    after = memo(layer, compute)
    assert len(calls) == 2 and not torch.equal(after, before)
    assert torch.equal(after, layer.weight.sum())


def test_loaded_and_replaced_tensors_are_seen():
    layer, memo = nn.Linear(3, 2), Memo()
    first = memo(layer, lambda: layer.weight.clone())
    layer.load_state_dict(nn.Linear(3, 2).state_dict())
    second = memo(layer, lambda: layer.weight.clone())
    assert not torch.equal(first, second)
    layer.weight = nn.Parameter(torch.zeros(2, 3))
    assert not memo(layer, lambda: layer.weight.clone()).any()


def test_nothing_is_recorded_for_gradients():
    layer, memo = nn.Linear(3, 2), Memo()
    assert not memo(layer, lambda: layer(torch.ones(1, 3))).requires_grad


def test_tensors_that_come_to_lie_where_others_were_are_seen():
    layer, memo = nn.Linear(3, 2, bias=False), Memo()
    del layer.weight
    for value in range(50):
        layer.weight = nn.Parameter(torch.full((2, 3), float(value)))
        assert memo(layer, lambda: layer.weight.sum().item()) == 6 * value
        del layer.weight


def test_a_copy_remembers_nothing_of_the_original():
    layer = nn.Linear(3, 2)
    layer.memo = Memo()
    layer.memo(layer, lambda: 1)
    other = copy.deepcopy(layer)
    assert other.memo(other, lambda: 2) == 2 and layer.memo(layer, lambda: 3) == 1
