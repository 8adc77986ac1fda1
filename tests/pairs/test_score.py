import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.pairs.score import hardest, prototypes, prototypical, sampled


def test_hardest_takes_the_highest_scores():
    items = tensor([[0.0], [1.0], [5.0], [-2.0]])
    negative = tensor([[0, 1, 3], [3, 2, 1]])
    assert hardest(tensor([[1.0], [-1.0]]), items, negative).tolist() == [[1], [3]]
    assert hardest(tensor([[1.0], [1.0]]), items, negative, k=2).tolist() == [[1, 0], [2, 1]]


def test_sampled_follows_the_policy_and_knows_its_log_probability():
    torch.manual_seed(0)
    logits = tensor([[0.0, 1.0, -torch.inf, 2.0]], requires_grad=True)
    chosen, log_p = sampled(logits, 20_000)
    wanted = logits.softmax(1).squeeze(0)
    torch.testing.assert_close(torch.bincount(chosen[0], minlength=4) / 20_000, wanted.detach(), atol=0.02, rtol=0)
    torch.testing.assert_close(log_p, wanted.log()[chosen])
    log_p.mean().backward()
    assert logits.grad.isfinite().all()


def test_prototypes_find_planted_directions():
    torch.manual_seed(0)
    centre = torch.eye(4)
    label = torch.arange(4).repeat(25)
    x = (centre[label] + 0.05 * torch.randn(100, 4)) * torch.rand(100, 1).add(0.1)
    centroid, belongs = prototypes(x, 4, seed=1)
    torch.testing.assert_close(centroid.norm(dim=1), torch.ones(4))
    assert len({(a, b) for a, b in zip(label.tolist(), belongs.tolist(), strict=True)}) == 4
    # Each row belongs to the centroid nearest to it, each centroid is the mean direction of its rows.
    assert torch.equal(belongs, (F.normalize(x, dim=1) @ centroid.T).argmax(1))
    means = F.normalize(torch.stack([F.normalize(x, dim=1)[belongs == i].sum(0) for i in range(4)]), dim=1)
    torch.testing.assert_close(means, centroid)


def test_more_prototypes_than_rows_is_every_row():
    centroid, belongs = prototypes(torch.eye(3), 10)
    assert len(centroid) == 3 and len(belongs.unique()) == 3


def test_prototypical_pairs():
    x, centroids = torch.randn(5, 2), torch.randn(3, 2)
    pairs = prototypical(x, tensor([4, 1, 4]), centroids, tensor([0, 2, 1, 1, 0]))
    torch.testing.assert_close(pairs.anchor, x[[1, 4]])
    assert pairs.target.tolist() == [2, 0]
