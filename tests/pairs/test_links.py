"""Links beside false ones."""

import torch

from hybridrec.pairs.links import against_drawn


def test_others_share_one_end_and_what_is_linked_is_marked():
    torch.manual_seed(0)
    nodes, links = 5, torch.tensor([[0, 1], [1, 2]])
    there = {(0, 1), (1, 0), (1, 2), (2, 1)}
    keys = torch.tensor(sorted(a * nodes + b for a, b in there))
    met = set()
    for _ in range(50):
        one, two, false = against_drawn(links, keys, nodes, 4)
        assert torch.equal(one[:, 0], links[0]) and torch.equal(two[:, 0], links[1])
        assert (one[:, 1:3] == links[0].unsqueeze(1)).all() and (two[:, 3:] == links[1].unsqueeze(1)).all()
        for a, b, f in zip(one[:, 1:].flatten().tolist(), two[:, 1:].flatten().tolist(), false.flatten().tolist(), strict=True):
            assert f == (a != b and (a, b) not in there)
        met |= set(two[0, 1:3].tolist())
    assert met == set(range(5))


def test_with_nothing_linked_all_but_loops_is_false():
    one, two, false = against_drawn(torch.tensor([[0], [1]]), torch.empty(0, dtype=torch.int64), 3, 6)
    assert torch.equal(false, (one != two)[:, 1:])
