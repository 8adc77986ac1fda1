"""The contrastive and masked methods named first, term by term, against the dense formulas of their papers."""

import pytest
import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.data.batches import Pairs
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.errors import ArgumentError
from hybridrec.methods import BUIR, DCCF, HCCF, SGL, AdaGCL, AutoCF, GFormer, LightGCL, SelfCF, SimGCL
from hybridrec.views.data import RandomWalk
from hybridrec.views.masking import Masked, Rationales

U, I, D = 5, 4, 4


@pytest.fixture
def data():
    index = tensor([[0, 0, 1, 1, 2, 3, 3, 4], [0, 1, 1, 2, 3, 0, 3, 2]])
    relation = Relation("user", "item", index)
    return Dataset({"user": Ids(range(U)), "item": Ids(range(I))}, {"interact": relation}, "interact")


BATCH = Pairs(tensor([0, 3, 1, 0]), tensor([0, 3, 1, 1]), tensor([2, 1, 3, 3]))


def normalised(a):
    scale = a.sum(1).clamp(min=1).rsqrt()
    return scale.unsqueeze(1) * a * scale


def adjacency(graph):
    a = torch.zeros(graph.nodes, graph.nodes)
    a[graph.row, graph.col.long()] = 1
    return a


def rank(x):
    u, p, n = x[BATCH.user], x[U + BATCH.positive], x[U + BATCH.negative]
    return -torch.sigmoid((u * (p - n)).sum(1)).log().mean()


def contrast(one, two, nodes, candidates, temperature):
    """Mean over ``nodes`` of -log softmax of cosines with ``candidates``."""
    score = F.cosine_similarity(one[nodes].unsqueeze(1), two[candidates].unsqueeze(0), dim=2) / temperature
    place = tensor([candidates.tolist().index(n) for n in nodes.tolist()])
    return F.cross_entropy(score, place)


def sides(one, two, temperature, every=False):
    users, items = BATCH.user.unique(), U + BATCH.positive.unique()
    of_users, of_items = (torch.arange(U), U + torch.arange(I)) if every else (users, items)
    return contrast(one, two, users, of_users, temperature) + contrast(one, two, items, of_items, temperature)


def test_sgl_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = SGL(data, dim=D, depth=2, temperature=0.3, weight=0.5, decay=0.1)
    views = [method.graph.keep(torch.arange(8) != 2), method.graph.keep(torch.arange(8) > 1)]
    drawn = iter(views)
    method.view = lambda graph: next(drawn)
    x = method.nodes()

    def smooth(graph):
        a = normalised(adjacency(graph))
        return (x + a @ x + a @ a @ x) / 3

    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(smooth(method.graph)))
    torch.testing.assert_close(terms["contrast"], 0.5 * sides(smooth(views[0]), smooth(views[1]), 0.3))
    free = torch.cat([x[BATCH.user], x[U + BATCH.positive], x[U + BATCH.negative]])
    torch.testing.assert_close(terms["decay"], 0.1 * free.square().sum() / 8)


def test_sgl_walks_over_a_graph_a_layer(data):
    torch.manual_seed(0)
    method = SGL(data, dim=D, depth=2, view=RandomWalk(0.5, depth=2))
    walk = method.view(method.graph)
    first, second = (normalised(adjacency(g)) for g in walk)
    x, seen = method.nodes(), method.embed(walk)
    torch.testing.assert_close(torch.cat([seen.user, seen.item]), (x + first @ x + second @ first @ x) / 3)
    assert method(BATCH)["contrast"].isfinite()


def test_simgcl_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = SimGCL(data, dim=D, depth=2, temperature=0.3, weight=0.5)
    noise = [torch.randn(U + I, D) for _ in range(4)]
    drawn = iter(noise)
    method.noise = lambda z: z + next(drawn)
    a, x = normalised(adjacency(method.graph)), method.nodes()

    def noisy(first, second):
        one = a @ x + first
        return (one + a @ one + second) / 2

    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(noisy(0, 0)))
    torch.testing.assert_close(terms["contrast"], 0.5 * sides(noisy(*noise[:2]), noisy(*noise[2:]), 0.3))


def test_simgcl_and_sgl_as_rlmrec_has_them(data):
    method = SimGCL(data, dim=D, depth=2, alpha=1.0, skip=0, decay=0.0, shrink=0.01)
    a, x = normalised(adjacency(method.graph)), method.nodes()
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(x + a @ x + a @ a @ x))
    torch.testing.assert_close(terms["decay"], 0.01 * x.square().sum())
    method = SGL(data, dim=D, depth=2, decay=0.0, shrink=0.01)
    torch.testing.assert_close(method(BATCH)["decay"], 0.01 * method.nodes().square().sum())


def test_hccf_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = HCCF(data, dim=D, depth=2, hyperedges=3, keep=1.0, slope=0.5, temperature=0.3, weight=0.5, decay=0.1)
    a, x = normalised(adjacency(method.graph)), method.nodes()
    h_user, h_item = x[:U] @ method.users.weight, x[U:] @ method.items.weight

    def through(h, z):
        return F.leaky_relu(h @ F.leaky_relu(h.T @ z, 0.5), 0.5)

    layers, wanted = [x], torch.zeros(())
    for _ in range(2):
        near = a @ layers[-1]
        far = torch.cat([through(h_user, layers[-1][:U]), through(h_item, layers[-1][U:])])
        wanted = wanted + sides(near.detach(), far, 0.3, every=True)
        layers.append(near + far)
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(sum(layers)))
    torch.testing.assert_close(terms["contrast"], 0.5 * wanted)
    torch.testing.assert_close(terms["decay"], 0.1 * sum(p.square().sum() for p in method.parameters()))
    (ours,) = torch.autograd.grad(terms["contrast"], method.users.weight)
    (its,) = torch.autograd.grad(0.5 * wanted, method.users.weight)
    torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-6)


def test_hccf_for_sparse_data_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = HCCF(data, dim=D, depth=2, hyperedges=None, keep=1.0, slope=1.0, scale=0.5, temperature=0.3, weight=0.5)
    a, x = normalised(adjacency(method.graph)), method.nodes()
    spread = torch.block_diag(x[:U] @ x[:U].T, x[U:] @ x[U:].T) / 4  # the embeddings, halved, are the incidences
    one = a @ x + spread @ x
    two = a @ one + spread @ one
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(x + one + two))
    wanted = 0.5 * (sides(x.detach(), x, 0.3, every=True) + sides((a @ x).detach(), spread @ x, 0.3, every=True))
    torch.testing.assert_close(terms["contrast"], wanted)
    (ours,) = torch.autograd.grad(terms["contrast"], method.nodes.weight)
    (its,) = torch.autograd.grad(wanted, method.nodes.weight)
    torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-6)
    assert {name for name, _ in method.named_parameters()} == {"nodes.weight"}


def test_autocf_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = AutoCF(data, dim=D, depth=2, heads=2, weight=0.7, decay=0.1, hold=10)
    encoder = method.graph.keep(torch.arange(8) != 3)
    method._masked, method._batches = Masked(encoder, method.graph), 1  # a mask that is kept for this batch
    a, x = normalised(adjacency(encoder)), method.nodes()
    last = a @ a @ x
    seen = adjacency(method.graph) + torch.eye(U + I) > 0
    heads = []
    weights = (method.decoder.query, method.decoder.key, method.decoder.value)
    for q, k, v in zip(*((last @ w).chunk(2, 1) for w in weights), strict=True):
        heads.append((q @ k.T).clamp(-10, 10).masked_fill(~seen, -torch.inf).softmax(1) @ v)
    main = x + a @ x + last + torch.cat(heads, 1)
    user, item = main[:U], main[U:]
    terms = method(BATCH)
    assert set(terms) == {"rebuild", "apart", "decay"}
    torch.testing.assert_close(terms["rebuild"], -(user[BATCH.user] * item[BATCH.positive]).sum(1).mean())

    def spread(some, every):
        return (some @ every.T).exp().sum(1).log().mean()

    wanted = 0.7 * (spread(user[BATCH.user.unique()], user) + spread(item[BATCH.positive.unique()], item))
    torch.testing.assert_close(terms["apart"], wanted + spread(user[BATCH.user], item))


def test_autocf_draws_a_mask_every_so_many_batches(data):
    torch.manual_seed(0)
    method = AutoCF(data, dim=D, seeds=1, hops=1, heads=2, hold=3)
    assert ["infomax" in method(BATCH) for _ in range(7)] == [True, False, False, True, False, False, True]


def test_dccf_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = DCCF(data, dim=D, depth=2, intents=3, temperature=0.3, weight=0.5, decay=0.1)
    links = adjacency(method.graph)
    a, x = normalised(links), method.nodes()

    def reweighed(seen, z):
        unit = F.normalize(seen, dim=1)
        alpha = links * (unit @ unit.T + 1) / 2
        return alpha @ z / alpha.sum(1, keepdim=True)

    total, wanted = x, torch.zeros(())
    for _ in range(2):
        near = a @ x
        parts = zip((x[:U], x[U:]), (method.intents["user"], method.intents["item"]), strict=True)
        intent = torch.cat([F.softmax(z @ w, 1) @ w.T for z, w in parts])
        views = [intent, reweighed(near, x), reweighed(intent, x)]
        wanted = wanted + sum(sides(near, v, 0.3) for v in views)
        x = near + sum(views) + x
        total = total + x
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(total))
    torch.testing.assert_close(terms["contrast"], 0.5 * wanted, rtol=1e-4, atol=1e-5)


def test_lightgcl_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = LightGCL(data, dim=D, depth=2, rank=2, temperature=0.3, weight=0.5, clamp=None)
    a, x = normalised(adjacency(method.graph)), method.nodes()
    u, s, vt = torch.linalg.svd(a[:U, U:])
    low = u[:, :2] @ torch.diag(s[:2]) @ vt[:2]
    g = torch.zeros(U + I, U + I)
    g[:U, U:], g[U:, :U] = low, low.T
    main = x + a @ x + a @ a @ x
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(main))
    wanted = 0.5 * sides(x + g @ x + g @ (a @ x), main, 0.3, every=True)
    torch.testing.assert_close(terms["contrast"], wanted, rtol=1e-3, atol=1e-4)


def test_lightgcl_by_products_equals_the_dense_formula_of_its_code(data):
    torch.manual_seed(0)
    method = LightGCL(data, dim=D, depth=2, rank=2, temperature=0.3, weight=0.5, clamp=2.0)
    main, seen = (torch.cat([view.user, view.item]) for view in method.views())
    wanted, beyond = torch.zeros(()), 0
    for nodes, those in ((BATCH.user.unique(), slice(0, U)), (U + BATCH.positive.unique(), slice(U, None))):
        agreed = (seen[nodes] * main[nodes]).sum(1) / 0.3
        beyond += int((agreed.abs() > 2).sum())
        spread = (seen[nodes] @ main[those].T / 0.3).exp().sum(1).log()
        wanted = wanted + 0.5 * (spread - agreed.clamp(-2, 2)).mean()
    assert 0 < beyond < len(BATCH.user.unique()) + len(BATCH.positive.unique())
    torch.testing.assert_close(method(BATCH)["contrast"], wanted)
    with pytest.raises(ArgumentError, match="clamp must be above 0"):
        LightGCL(data, dim=D, clamp=-1.0)


def test_adagcl_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = AdaGCL(data, dim=D, depth=2, temperature=0.3, weight=0.5, beta=0.2, sparse=0.7, decay=0.1)
    method.eval()  # calm gates, so that the formula has nothing to draw but the latents
    links = adjacency(method.graph)
    a, x = normalised(links), method.nodes()
    main = x + a @ x + a @ a @ x

    torch.manual_seed(1)
    mean, log_variance = method.generator.mean(main.detach()), method.generator.log_variance(main.detach())
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    pair = z.unsqueeze(1) * z.unsqueeze(0)
    link = method.generator.judge(pair).squeeze(2).sigmoid()  # (N, N)
    true, false = (link[BATCH.user, U + i] for i in (BATCH.positive, BATCH.negative))
    kl = (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean() / 2
    generate = -true.log().mean() - (1 - false).log().mean() + 0.2 * kl + rank(z)

    def gated(gate, seen):
        hidden = F.relu(gate.near(seen))
        logit = gate.judge(hidden.unsqueeze(1) + hidden.unsqueeze(0)).squeeze(2)
        value = links * (logit.sigmoid() * 1.5 - 0.45).clamp(0, 1)
        scale = value.sum(1).clamp(min=0.01).rsqrt()
        edges = links.triu() > 0
        return scale.unsqueeze(1) * value * scale, torch.sigmoid(logit[edges] - torch.log(tensor(0.45 / 1.05))).mean()

    method._heat = 1.0
    first, opened = gated(method.gates[0], x)
    second, more = gated(method.gates[1], first @ x)
    clean = x + first @ x + second @ first @ x
    rewritten = normalised(links * (link > 0.5))
    seen = x + rewritten @ x + rewritten @ rewritten @ x

    torch.manual_seed(1)
    terms = method(BATCH)
    torch.testing.assert_close(terms["rank"], rank(main))
    torch.testing.assert_close(terms["generate"], generate)
    torch.testing.assert_close(terms["denoise"], rank(clean) + 0.7 * (opened + more))
    torch.testing.assert_close(terms["contrast"], 0.5 * sides(seen, clean, 0.3), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["decay"], 0.1 * sum(p.square().sum() for p in method.parameters()))
    # The contrast moves the embeddings alone, the generators everything but them.
    moved = torch.autograd.grad(terms["contrast"], list(method.parameters()), allow_unused=True, retain_graph=True)
    assert [g is not None for g in moved] == [n.startswith("nodes.") for n, _ in method.named_parameters()]
    (still,) = torch.autograd.grad(terms["generate"] + terms["denoise"], [method.nodes.weight], allow_unused=True)
    assert still is None


@pytest.mark.parametrize("own", [True, False])
def test_gformer_equals_its_dense_formula(data, own):
    torch.manual_seed(0)
    told = {"weight": 0.7, "apart": 0.3, "core": 0.6, "gate": 0.2, "decay": 0.1, "hold": 9, "own": own}
    method = GFormer(data, dim=D, depth=2, heads=2, anchors=3, **told)
    edge = torch.arange(8)
    keep = [method.graph.keep(kept) for kept in (edge != 3, edge < 3, edge > 5)]
    drawn = method.draw()
    drawn = drawn._replace(rationales=Rationales(Masked(keep[0], method.graph), keep[1], keep[2]))
    method._drawn, method._batches = drawn, 1  # a draw that is kept for this batch
    x = method.nodes()
    a, core, rest = (normalised(adjacency(g)) for g in keep)

    def attend(links, seen):
        shown = links + torch.eye(U + I) > 0
        heads = []
        weights = (method.decoder.query, method.decoder.key, method.decoder.value)
        for q, k, v in zip(*((seen @ w).chunk(2, 1) for w in weights), strict=True):
            heads.append((q @ k.T).clamp(-10, 10).masked_fill(~shown, -torch.inf).softmax(1) @ v)
        return torch.cat(heads, 1)

    layers = [x, a @ x, a @ a @ x]
    heard = [drawn.near[:, [k]] * layers[2][v] for k, v in enumerate(drawn.anchor)]
    messages = torch.stack([torch.cat([x, layers[2]], 1) if own else x for x in heard])
    placed = method.position.mix(messages).mean(0)
    main = sum(layers) + placed + attend(adjacency(method.graph), placed)
    one, two = (
        x + 0.2 * attend(adjacency(g), x) + b @ layers[0] + b @ layers[1] for g, b in zip(keep[1:], (core, rest), strict=True)
    )
    terms = method(BATCH)
    user, item = main[:U], main[U:]
    torch.testing.assert_close(terms["rebuild"], -(user[BATCH.user] * item[BATCH.positive]).sum(1).mean())

    def spread(some, every):
        return (some @ every.T).exp().sum(1).log().mean()

    wanted = 0.7 * (spread(user[BATCH.user.unique()], user) + spread(item[BATCH.positive.unique()], item))
    torch.testing.assert_close(terms["apart"], wanted + spread(user[BATCH.user], item))
    margin = (one[BATCH.user] * (one[U + BATCH.positive] - item[BATCH.negative])).sum(1)
    torch.testing.assert_close(terms["core"], -0.6 * margin.sigmoid().log().mean())
    torch.testing.assert_close(terms["rest"], 0.3 * (one * two)[BATCH.user].exp().sum(1).log().mean())
    torch.testing.assert_close(terms["decay"], 0.1 * sum(p.square().sum() for p in method.parameters()))
    method.embed()
    torch.testing.assert_close(method.catalogue(), sum(b @ x for b in _powers(normalised(adjacency(method.graph))))[U:])


def _powers(a):
    return torch.eye(len(a)), a, a @ a


def test_buir_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = BUIR(data, dim=D, depth=2, momentum=0.9, keep=1.0, shrink=0.1)
    x, twin = method.nodes(), method.twin().clone()
    torch.nn.init.normal_(method.nodes.weight)
    twin = 0.9 * twin + 0.1 * x.detach()  # the twin follows before it is asked
    a = normalised(adjacency(method.graph))
    main, slow = ((v + a @ v + a @ a @ v) / 3 for v in (x, twin))
    user, item = BATCH.user, U + BATCH.positive
    terms = method(BATCH)
    wanted = {
        name: 2 - 2 * F.cosine_similarity(method.predict(main[one]), slow[two].detach(), dim=1).mean()
        for name, one, two in (("user", user, item), ("item", item, user))
    }
    for name, loss in wanted.items():
        torch.testing.assert_close(terms[name], loss)
    torch.testing.assert_close(terms["decay"], 0.1 * sum(p.square().sum() for p in method.parameters() if p.requires_grad))
    (ours,) = torch.autograd.grad(terms["user"] + terms["item"], method.nodes.weight)
    torch.testing.assert_close(ours, torch.autograd.grad(sum(wanted.values()), method.nodes.weight)[0])


def test_selfcf_equals_its_dense_formula(data):
    torch.manual_seed(0)
    method = SelfCF(data, dim=D, depth=2, decay=0.1)
    noise = torch.randn(4, D)
    method.view = lambda z: z + noise
    thin = method.graph.keep(torch.arange(method.graph.edges) % 3 > 0)
    method.edges = lambda graph: thin
    a, x = normalised(adjacency(thin)), method.nodes()
    main = (x + a @ x + a @ a @ x) / 3
    user, item = main[BATCH.user], main[U + BATCH.positive]
    terms = method(BATCH)
    wanted = {
        name: (1 - F.cosine_similarity(method.predict(one), (two + noise).detach(), dim=1)).mean() / 2
        for name, one, two in (("user", user, item), ("item", item, user))
    }
    for name, loss in wanted.items():
        torch.testing.assert_close(terms[name], loss)
    torch.testing.assert_close(terms["decay"], 0.1 * (user.square().sum() + item.square().sum()) / 8)
    (ours,) = torch.autograd.grad(terms["user"] + terms["item"], method.nodes.weight)
    (its,) = torch.autograd.grad(sum(wanted.values()), method.nodes.weight)
    torch.testing.assert_close(ours, its)
    a = normalised(adjacency(method.graph))  # what recommends reads all edges
    main = (x + a @ x + a @ a @ x) / 3
    vectors = torch.cat([method.predict(main), main], 1)[:U], torch.cat([main, method.predict(main)], 1)[U:]
    torch.testing.assert_close(method.embed()[0] @ method.catalogue().T, vectors[0] @ vectors[1].T)
