import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.losses.ranking import bpr, cosine_contrastive, sampled_softmax, softmax, squared_length, squared_norm


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_bpr_by_hand():
    a, p, n = tensor([[1.0, 2.0]]), tensor([[1.0, 1.0]]), tensor([[0.0, 1.0]])
    torch.testing.assert_close(bpr(a, p, n), -torch.sigmoid(tensor(1.0)).log())
    torch.testing.assert_close(bpr(a, p, torch.stack([n, n], 1)), bpr(a, p, n))


def test_sampled_softmax_equals_cross_entropy():
    a, p, n = vectors(4, 3), vectors(4, 3, seed=1), vectors(4, 5, 3, seed=2)
    logits = torch.cat([(a * p).sum(1, keepdim=True), (n @ a.unsqueeze(2)).squeeze(2)], 1) / 0.5
    loss = sampled_softmax(a, p, n, 0.5)
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)))
    loss.backward()
    assert all(x.grad.norm() > 0 for x in (a, p, n))


def test_softmax_equals_cross_entropy_over_all_items():
    a, v, positive = vectors(4, 3), vectors(7, 3, seed=1), tensor([0, 6, 2, 2])
    torch.testing.assert_close(softmax(a, v, positive), F.cross_entropy(a @ v.T, positive))


def test_cosine_contrastive_by_hand_and_easy_negatives_have_no_gradient():
    # cos 0 to the positive; negatives at cos 1 (hard) and cos 0 (easy), margin 0.5, weight 10: 1 + 10 * (0.5 + 0) / 2.
    near, far = tensor([0.0]), tensor([[1.0, 0.0]], requires_grad=True)
    loss = cosine_contrastive(near, far, margin=0.5, weight=10.0)
    torch.testing.assert_close(loss, tensor(3.5))
    loss.backward()
    assert far.grad[0].tolist() == [5, 0]


def test_lengths_by_hand():
    x, y = tensor([[1.0, 2.0], [0.0, 0.0]]), tensor([[3.0]])
    assert squared_length(x, y) == 14
    assert squared_norm(x) == 5 / 4
