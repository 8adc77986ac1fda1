"""MAERec, term by term, against its formulas computed densely."""

import pytest
import torch
import torch.nn.functional as F
from adjacency import dense
from conftest import planted

from hybridrec.data.batches import Histories, Rows
from hybridrec.methods import MAERec
from hybridrec.objectives import FullSoftmax
from hybridrec.pairs.links import LinkPairs


@pytest.fixture(scope="module")
def data():
    return planted(users=20, items=30, each=6)


ROWS = [[3, 1, 2], [4, 8], [7, 5, 0, 6]]


@pytest.fixture
def batch():
    return Rows(torch.tensor([0, 3, 5]), Histories.lists(ROWS))


def built(data, **arguments):
    torch.manual_seed(0)
    small = {
        "dim": 8,
        "depth": 1,
        "window": 6,
        "dropout": 0.0,
        "seeds": 2,
        "hops": 1,
        "negatives": 4,
        "objective": FullSoftmax(),
    }
    return MAERec(data, **{**small, **arguments})


def smoothed(method, graph):
    a, x = dense(graph), method.table[:-1]
    return [x, a @ x, a @ a @ x]


def test_the_graph_joins_neighbours_in_histories(data):
    graph, history = built(data, distance=2).graph, data.histories()
    expected = set()
    for a, b in zip(history.offset[:-1].tolist(), history.offset[1:].tolist(), strict=True):
        row = history.item[a:b].tolist()
        expected |= {tuple(sorted((x, y))) for i, x in enumerate(row) for y in row[i + 1 : i + 3] if x != y}
    assert {tuple(link) for link in torch.stack(graph.ends, 1).tolist()} == expected


def test_terms_equal_their_formulas(data, batch, monkeypatch):
    method = built(data, weight=0.3, decay=0.1)
    drawn = []
    mask = method.view.draw
    method.view.draw = lambda graph, x: drawn.append(mask(graph, x)) or drawn[-1]
    pairs = []

    def chosen(links, present, nodes, count):
        n = links.shape[1]
        false = torch.ones(n, 2, dtype=torch.bool).index_fill_(0, torch.tensor([0]), False)
        other = (links + 3) % nodes
        one, two = torch.stack([links[0], links[0], other[0]], 1), torch.stack([links[1], other[1], links[1]], 1)
        pairs.append(LinkPairs(one, two, false))
        return pairs[-1]

    monkeypatch.setattr("hybridrec.methods.maerec.against_drawn", chosen)
    terms = method(batch)
    (hidden, links), score = drawn[0]
    torch.testing.assert_close(terms["mask"], -score.mean())
    layers = smoothed(method, hidden)
    items = sum(layers)
    vectors, total = torch.cat([items, method.table[-1:]]), 0
    for row in ROWS:
        for t, i in enumerate(row):
            read = Histories.lists([[30, *row[:t]]])
            z = method.encoder(read, vectors[read.item])[-1]
            total = total + F.cross_entropy(items @ z, torch.tensor(i))
    torch.testing.assert_close(terms["next"], total / (3 * method.length))
    assert sorted(map(tuple, torch.stack([pairs[0].one[:, 0], pairs[0].two[:, 0]], 1).tolist())) == sorted(
        map(tuple, links.T.tolist())
    )
    rebuilt = 0
    for one, two, false in zip(*pairs[0], strict=True):
        scores = []
        for v, w in zip(one, two, strict=True):
            products = [layers[i][v] * layers[j][w] for i in range(2) for j in range(2)]
            scores.append(method.decoder.mix(torch.cat(products)).squeeze())
        rebuilt = (
            rebuilt
            - torch.log_softmax(torch.stack([scores[0], *(s for s, f in zip(scores[1:], false, strict=True) if f)]), 0)[0]
        )
    torch.testing.assert_close(terms["rebuild"], 0.3 * rebuilt / len(pairs[0].one))
    torch.testing.assert_close(terms["decay"], 0.1 * sum(p.square().sum() for p in method.parameters()))


def test_a_mask_is_kept_for_some_batches_and_what_it_brought_is_noted(data, batch):
    method = built(data, hold=3, floor=0.25)
    losses = iter([5.0, 4.0, 3.5, 2.0, 1.0, 0.5, 0.1])
    method.objective = lambda z, items, wanted: z.sum() * 0 + next(losses)
    draw = method.view.draw
    method.view.draw = lambda graph, x: (draw(graph, x)[0], torch.ones(30))
    found = [method(batch).get("mask") for _ in range(7)]
    assert [x is not None for x in found] == [True, False, False, True, False, False, True]
    # 0.5 after 1 with the first mask, 1 after 1.5 with the second: both helped less in the end.
    assert [found[at].item() for at in (0, 3, 6)] == [-1, -0.25, -0.25]


def test_asked_it_reads_the_whole_graph(data):
    method = built(data).eval()
    with torch.no_grad():
        torch.testing.assert_close(method.catalogue(), sum(smoothed(method, method.graph)))
        read = Histories.lists([[30, 4, 8]])
        z = method.encoder(read, torch.cat([method.catalogue(), method.table[-1:]])[read.item])[-1]
        torch.testing.assert_close(method.represent(Rows(torch.tensor([-1]), Histories.lists([[4, 8]])))[0], z)
