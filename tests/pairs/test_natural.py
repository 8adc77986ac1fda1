import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import tensor

from hybridrec.losses.contrastive import info_nce
from hybridrec.pairs.natural import against_all, doubled, natural, paired, torn


def views(nodes=9, dim=4):
    random = torch.Generator().manual_seed(0)
    return [torch.randn(nodes, dim, generator=random).requires_grad_() for _ in range(2)]


def test_natural_takes_each_node_once_and_the_batch_as_candidates():
    one, two = views()
    pairs = natural(one, two, tensor([5, 2, 5, 7, 2]))
    torch.testing.assert_close(pairs.anchor, one[[2, 5, 7]])
    torch.testing.assert_close(pairs.candidates[pairs.target], two[[2, 5, 7]])
    assert len(pairs.candidates) == 3


def test_paired_and_against_all():
    one, two = views()
    pairs = paired(one, two)
    assert torch.equal(pairs.target, torch.arange(9))
    pairs = against_all(one, two, tensor([3, 3, 0]))
    torch.testing.assert_close(pairs.anchor, one[[0, 3]])
    torch.testing.assert_close(pairs.candidates[pairs.target], two[[0, 3]])
    assert len(pairs.candidates) == 9


SHARES = [[0, 4, 4, 6, 1], [7, 2, 3]]  # of different length, no node in both
OVERLAP = [[0, 4, 6], [6, 2, 4]]


def _process(rank, port, shares, queue):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mine, size = tensor(shares[rank]), sum(map(len, shares))
    found = []
    for pair in (lambda one, two: natural(one, two, mine), lambda one, two: paired(one[mine], two[mine])):
        one, two = views()
        pairs = pair(one, two)
        loss = info_nce(pairs, 0.2) * len(mine) / size  # as fit weighs it, and divides by the number of processes
        loss.backward()
        found.append((loss.item(), one.grad.tolist(), two.grad.tolist(), len(pairs.candidates), len(pairs.anchor)))
    queue.put((rank, found))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("shares", [SHARES, OVERLAP])
def test_two_processes_contrast_as_one_does_and_gradients_find_their_way_back(shares):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_process, args=(r, port, shares, queue)) for r in range(2)]
    for w in workers:
        w.start()
    found = sorted(queue.get() for _ in workers)
    for w in workers:
        w.join()
    everything = tensor([n for share in shares for n in share])
    for which, pair in enumerate(
        (lambda one, two: natural(one, two, everything), lambda a, b: paired(a[everything], b[everything]))
    ):
        one, two = views()
        pairs = pair(one, two)
        loss = info_nce(pairs, 0.2)
        loss.backward()
        first, second = (f[1][which] for f in found)
        assert first[3] == second[3] == len(pairs.candidates) and first[4] + second[4] == len(pairs.anchor)
        torch.testing.assert_close(tensor(first[0] + second[0]), loss.detach())
        torch.testing.assert_close(tensor(first[1]) + tensor(second[1]), one.grad)
        torch.testing.assert_close(tensor(first[2]) + tensor(second[2]), two.grad)


def test_doubled_sets_each_row_against_its_other_view_and_all_other_rows():
    one, two = views(nodes=3)
    pairs = doubled(one, two)
    torch.testing.assert_close(pairs.candidates[pairs.target], torch.cat([two, one]))
    assert torch.equal(~pairs.apart, torch.eye(6, dtype=torch.bool))


def test_doubled_rows_of_one_label_are_no_negatives_of_each_other():
    one, two = views(nodes=3)
    apart = doubled(one, two, tensor([7, 5, 7])).apart
    # Candidates: first views of rows 0, 1, 2, then second ones.
    assert apart[0].tolist() == [False, True, False, True, True, False]
    assert apart[1].tolist() == [True, False, True, True, True, True]
    assert apart[5].tolist() == [False, True, True, False, True, False]


def test_torn_entries_stand_at_the_same_step_of_the_row_before():
    # Rows 0 1 2 | 3 | 4 5.
    assert torn(tensor([0, 3, 4, 6])).tolist() == [4, 5, 5, 0, 3, 3]
    assert torn(tensor([0, 2])).tolist() == [0, 1]  # a row alone has no other
