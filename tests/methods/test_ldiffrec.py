"""L-DiffRec: clusters, the sparse encoder, inference against the dense route."""

import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.methods.ldiffrec import LDiffRec


def small(planted, **arguments):
    torch.manual_seed(0)
    return LDiffRec(planted, latent=7, widths=(6,), steps=4, noise=1.0, low=0.01, high=0.5, **arguments)


def test_clusters_share_out_the_latent_by_their_items(planted):
    own = small(planted).own
    kinds = own.unique(dim=0)
    assert len(kinds) == 2 and (kinds.sum(0) == 1).all()  # every column has one cluster
    for kind in kinds:
        items = int((own == kind).all(1).sum())
        assert abs(kind.sum() - 7 * items / 40) <= 0.5
    # The planted kinds are the even and the odd items.
    first = (own == own[0]).all(1)
    assert (first[::2].float().mean() - first[1::2].float().mean()).abs() > 0.5


def test_the_encoder_equals_one_dense_layer_per_cluster(planted):
    method = small(planted)
    history = Histories.lists([[3, 4, 9], [1, 1, 2], []])
    mean, log_variance = method.moments_of(history, method.rows(history))
    x = history.dense(40)
    for row, columns in ((method.own[i], method.own[i].bool()) for i in (0, 1)):
        mine = (method.own == row).all(1)
        both = torch.cat([columns, columns])
        out = torch.tanh(x[:, mine] @ method.encode[mine][:, both] + method.enter[both])
        torch.testing.assert_close(torch.cat([mean[:, columns], log_variance[:, columns]], 1), out)


def test_scores_equal_the_plain_reverse_process(planted):
    method = small(planted).eval()
    history = Histories.lists([[3, 4, 9], [1]])
    z = method.moments_of(history, torch.ones(4))[0]
    for t, clean, noised in method.diffusion.back():
        z = clean * method.denoiser(z, t) + noised * z
    wanted = z @ method.decode[:, :-1].T + method.decode[:, -1]
    query = Query(torch.tensor([-1, 0]), history)
    torch.testing.assert_close(method.score(query), wanted)
    method.asks = 1
    once = method.denoiser(method.moments_of(history, torch.ones(4))[0], 3)
    torch.testing.assert_close(method.score(query), F.pad(once, (0, 1), value=1.0) @ method.decode.T)


def test_terms_and_their_weights(planted):
    method = small(planted, anneal=4, beta=0.4, weight=0.02, floor=0.005)
    batch = Rows(torch.arange(2), Histories.lists([[3, 4, 9], [1, 2]]))
    torch.manual_seed(0)
    first = method(batch)
    method._steps, method._epochs = 7, 10_000
    torch.manual_seed(0)
    later = method(batch)
    torch.testing.assert_close(later["rebuild"], first["rebuild"])
    torch.testing.assert_close(later["prior"], 4 * first["prior"])  # from 1 / 4 of the cap to the whole
    torch.testing.assert_close(later["diffusion"], 0.25 * first["diffusion"])  # from 0.02 to the floor


def test_rows_weighted_by_place(planted):
    history = Histories.lists([[3, 4, 9], [5]])
    torch.testing.assert_close(small(planted).rows(history), torch.ones(4))
    torch.testing.assert_close(small(planted, oldest=0.2).rows(history), torch.tensor([0.2, 0.6, 1.0, 0.2]))
