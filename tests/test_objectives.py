"""Objectives of sequence models: what they draw, and what they tend to."""

import pytest
import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories
from hybridrec.errors import DataError
from hybridrec.objectives import BinaryCrossEntropy, FullSoftmax, GeneralisedBCE, SampledSoftmax, Wanted

HISTORY = Histories.lists([[0, 1, 2], [3], [4, 5, 6, 7, 8]])
WANTED = Wanted(HISTORY.item, HISTORY.rows, HISTORY)


def outputs(items=10):
    torch.manual_seed(0)
    return torch.randn(9, 4, requires_grad=True), torch.randn(items, 4, requires_grad=True)


@pytest.mark.parametrize("objective", [BinaryCrossEntropy(), GeneralisedBCE(4), SampledSoftmax(4), FullSoftmax()])
def test_it_is_a_scalar_that_reaches_outputs_and_items(objective):
    z, items = outputs()
    loss = objective(z, items, WANTED)
    assert loss.shape == () and loss.isfinite()
    loss.backward()
    assert (z.grad.abs().sum(1) > 0).all() and (items.grad[WANTED.item].abs().sum(1) > 0).all()


def test_the_full_softmax_is_cross_entropy():
    z, items = outputs()
    torch.testing.assert_close(FullSoftmax()(z, items, WANTED), F.cross_entropy(z @ items.T, WANTED.item))


def test_binary_cross_entropy_draws_no_item_of_the_history():
    z, items = outputs()
    with torch.no_grad():
        z[3:] = 0  # rows 1 and 2 weigh nothing
        items[:3] = 1e6 * torch.sign(z[:3].sum(0))  # a negative among these would cost millions
    own = F.softplus(-(z * items[WANTED.item]).sum(1)).mean()
    drawn = torch.stack([BinaryCrossEntropy(20)(z, items, WANTED) - own for _ in range(5)])
    bound = 20 * F.softplus(z[:3] @ items[3:].T).max()
    assert (drawn <= bound).all()


def test_a_history_of_all_items_has_no_negative():
    z, items = outputs(items=5)
    history = Histories.lists([[0, 1, 2, 3, 4, 0, 1, 2, 3]])
    with pytest.raises(DataError, match="all 5 items"):
        BinaryCrossEntropy()(z, items, Wanted(history.item, history.rows, history))
