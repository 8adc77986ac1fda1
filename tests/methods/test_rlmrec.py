"""RLMRec, term by term, against the dense formulas of its paper."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.data.batches import Pairs
from hybridrec.data.dataset import Dataset, Feature, Ids, Relation
from hybridrec.errors import DataError
from hybridrec.methods import RLMRec, RLMRecGen

U, I, D, W = 5, 4, 4, 6
BATCH = Pairs(tensor([0, 3, 1, 0]), tensor([0, 3, 1, 1]), tensor([2, 1, 3, 3]))


@pytest.fixture
def data():
    index = tensor([[0, 0, 1, 1, 2, 3, 3, 4], [0, 1, 1, 2, 3, 0, 3, 2]])
    text = Feature(torch.randn(I, W, generator=torch.Generator().manual_seed(0)), torch.ones(I, dtype=torch.bool))
    ids = {"user": Ids(range(U)), "item": Ids(range(I))}
    return Dataset(ids, {"interact": Relation("user", "item", index)}, "interact", features={"item": {"text": text}})


def smooth(graph, x):
    a = torch.zeros(U + I, U + I)
    a[graph.row, graph.col.long()] = 1
    scale = a.sum(1).clamp(min=1).rsqrt()
    a = scale.unsqueeze(1) * a * scale
    return (x + a @ x + a @ a @ x) / 3


def rank(x):
    u, p, n = x[BATCH.user], x[U + BATCH.positive], x[U + BATCH.negative]
    return -torch.sigmoid((u * (p - n)).sum(1)).log().mean()


def contrast(one, two, temperature):
    score = F.cosine_similarity(one.unsqueeze(1), two.unsqueeze(0), dim=2) / temperature
    return F.cross_entropy(score, torch.arange(len(one)))


def decay(x):
    return torch.cat([x[BATCH.user], x[U + BATCH.positive], x[U + BATCH.negative]]).square().sum() / 8


def test_texts_of_users_are_the_mean_of_what_they_chose_unless_they_have_their_own(data):
    items = F.normalize(data.features["item"]["text"].values, dim=1)
    method = RLMRec(data, dim=D, text_dim=W)
    torch.testing.assert_close(method.texts[U:], items)
    torch.testing.assert_close(method.texts[1], F.normalize(items[1] + items[2], dim=0))
    own = Feature(torch.randn(U, W), torch.ones(U, dtype=torch.bool))
    told = replace(data, features={**data.features, "user": {"text": own}})
    torch.testing.assert_close(RLMRec(told, dim=D, text_dim=W).texts[:U], F.normalize(own.values, dim=1))


def test_rlmrec_con_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = RLMRec(data, dim=D, depth=2, text_dim=W, temperature=0.3, weight=0.5, decay=0.1)
    thin = method.graph.keep(torch.arange(8) != 2)
    method.view = lambda graph: thin
    x = smooth(thin, method.nodes())
    first, second = method.meaning[0], method.meaning[2]
    assert first.weight.shape == ((W + D) // 2, W)
    said = F.leaky_relu(method.texts @ first.weight.T + first.bias) @ second.weight.T + second.bias
    terms = method(BATCH)
    nodes = (BATCH.user.unique(), U + BATCH.positive.unique(), U + BATCH.negative.unique())
    wanted = 0.5 * sum(contrast(x[n], said[n], 0.3) for n in nodes)
    torch.testing.assert_close(terms["rank"], rank(x))
    torch.testing.assert_close(terms["align"], wanted)
    torch.testing.assert_close(terms["decay"], 0.1 * decay(method.nodes()))
    (ours,) = torch.autograd.grad(terms["align"], first.weight, retain_graph=True)
    (its,) = torch.autograd.grad(wanted, first.weight)
    torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-6)


def test_rlmrec_gen_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = RLMRecGen(data, dim=D, depth=2, text_dim=W, temperature=0.3, weight=0.5, decay=0.1)
    thin, hidden = method.graph.keep(torch.arange(8) != 2), tensor([0, 3, 6])
    method.view, method.masked = lambda graph: thin, lambda: hidden
    free = method.nodes()
    x = smooth(thin, torch.stack([method.token[0] if n in hidden else free[n] for n in range(U + I)]))
    first, second = method.meaning[0], method.meaning[2]
    rebuilt = F.leaky_relu(x[hidden] @ first.weight.T + first.bias) @ second.weight.T + second.bias
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(x))
    torch.testing.assert_close(terms["rebuild"], 0.5 * contrast(rebuilt, method.texts[hidden], 0.3))
    torch.testing.assert_close(terms["decay"], 0.1 * decay(free))


def test_hidden_nodes_are_a_share_of_all_and_differ_by_step(data):
    method = RLMRecGen(data, dim=D, text_dim=W, hidden=0.5)
    torch.manual_seed(0)
    drawn = [method.masked() for _ in range(2)]
    assert all(len(h) == 4 == len(h.unique()) for h in drawn) and not torch.equal(*(h.sort().values for h in drawn))


@pytest.mark.parametrize("cls", [RLMRec, RLMRecGen])
def test_texts_that_are_missing_or_of_another_width_are_named(data, cls):
    with pytest.raises(DataError, match="no 'image' features"):
        cls(data, dim=D, modality="image")
    with pytest.raises(DataError, match="pass text_dim=6"):
        cls(data, dim=D)
