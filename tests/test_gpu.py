"""On a GPU: every method trains there, ranks as on the CPU, goes on from a checkpoint; sums without a score per item agree."""

import copy
import shutil

import pytest
import torch
from conftest import planted, worded
from test_methods import METHODS, TRAINING, query, small

from hybridrec.baselines import CEASE, EASE, EDLAE, L3AE, AddEASE
from hybridrec.evaluation.ranking import evaluate
from hybridrec.linear import SingularError, invert_
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.diffusion import catalogue_squared_error
from hybridrec.losses.softmax import catalogue_cross_entropy
from hybridrec.methods import Hybrid
from hybridrec.saving import load_method, save_method
from hybridrec.training import Checkpoints, fit
from hybridrec.views.absorb import Anywhere
from hybridrec.views.noise import noisy_rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
HOW = {"batch_size": 64, "lr": 1e-3, "progress": False, "patience": None}


@pytest.fixture(scope="module")
def data():
    return worded(planted(users=150, taste=0.9))


def trained(name, data, epochs=3, **given):
    method = small(name, data)
    if hasattr(method, "solve"):
        fit(method, data)
        return method.cuda()
    how = {**HOW, **{k: v for k, v in TRAINING.get(name, {}).items() if k == "batch_size"}, "epochs": epochs, "every": 1}
    fit(method, data, **how, **given)
    return method


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_on_the_gpu_and_ranks_there_as_on_the_cpu(name, data, tmp_path):
    method = trained(name, data)
    assert {x.device.type for x in (*method.parameters(), *method.buffers()) if x.numel()} <= {"cuda"}
    here = evaluate(method, data)
    save_method(method, tmp_path, data.schema)
    there, _ = load_method(tmp_path)
    with torch.no_grad():
        scores = method.score(query(data).to("cuda")).cpu()
        torch.testing.assert_close(scores, there.score(query(data)), rtol=1e-3, atol=1e-3)
    for metric, value in evaluate(there, data).metrics.items():
        assert value == pytest.approx(here.metrics[metric], abs=2e-3)


@pytest.mark.parametrize("closed", [EASE, EDLAE, CEASE, L3AE, AddEASE])
def test_a_closed_form_is_solved_on_the_gpu_that_holds_it_as_on_the_cpu(closed, data):
    here, there = closed(data), closed(data).cuda()
    fit(here, data)
    fit(there, data)
    assert there.weights.is_cuda
    torch.testing.assert_close(there.weights.cpu(), here.weights, rtol=1e-3, atol=1e-4)


def test_a_matrix_that_is_not_positive_definite_is_told_on_the_gpu_too():
    with pytest.raises(SingularError, match="raise ridge"):
        invert_(-torch.eye(3, device="cuda"))


def test_the_hybrid_learns_on_the_gpu_from_rows_of_which_all_is_dropped():
    data = worded(planted(users=150, taste=0.9))
    short = data.with_train(data.train.keep(torch.rand(len(data.train), generator=torch.Generator().manual_seed(0)) < 0.2))
    method = Hybrid(short, dim=16, modality=None, words=None, view=Anywhere(), drop=0.5)
    fit(method, short, epochs=5, every=5, **HOW)
    assert all(bool(p.isfinite().all()) for p in method.parameters())


@pytest.mark.parametrize("name", ["LightGCN", "SGL", "MultVAE", "DiffRec", "CFGAN", "SASRec", "BERT4Rec", "Hybrid"])
def test_a_run_on_the_gpu_goes_on_from_its_checkpoint_as_if_never_ended(name, data, tmp_path):
    whole = trained(name, data, checkpoint=Checkpoints(tmp_path, steps=1, keep_last=99))
    written = Checkpoints(tmp_path).found()  # newest first
    for folder in written[: len(written) // 2]:
        shutil.rmtree(folder)
    rest = trained(name, data, checkpoint=tmp_path)
    for (key, one), two in zip(whole.named_parameters(), rest.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4, msg=lambda m, key=key: f"{key}: {m}")


def both(function, *given):
    """Value and gradients of ``function`` on the CPU and on the GPU."""
    found = []
    for device in ("cpu", "cuda"):
        moved = [copy.deepcopy(x).to(device).requires_grad_(x.is_floating_point()) for x in given]
        value = function(*moved)
        value.sum().backward()
        found.append([value.detach().cpu(), *(x.grad.cpu() for x in moved if x.grad is not None)])
    return zip(*found, strict=True)


def test_sums_without_a_score_per_item_agree_with_the_cpu():
    draw = torch.Generator().manual_seed(0)
    h, v = torch.randn(8, 16, generator=draw), torch.randn(500, 16, generator=draw)
    offset, item = torch.arange(0, 41, 5), torch.stack([torch.randperm(500, generator=draw)[:5] for _ in range(8)]).flatten()
    cases = [
        both(
            lambda h, v: catalogue_squared_error(h, v, offset.to(h.device), item.to(h.device), torch.ones(40).to(h.device)),
            h,
            v,
        ),
        both(lambda h, v: catalogue_cross_entropy(h, v, item[:8].to(h.device)), h, v),
        both(lambda h, v: info_nce((h, v, item[:8].to(h.device)), 0.2), h, v),
    ]
    for case in cases:
        for one, two in case:
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_noise_on_the_gpu_has_the_distribution_of_dense_noise():
    torch.manual_seed(0)
    w = torch.randn(300, 4, device="cuda") * torch.tensor([1.0, 2.0, 0.5, 1.0], device="cuda")
    offset, item = torch.zeros(20_001, dtype=torch.int64, device="cuda"), torch.zeros(0, dtype=torch.int64, device="cuda")
    drawn = noisy_rows(w, offset, item, torch.zeros(0, device="cuda"), torch.ones(20_000, device="cuda"))
    assert torch.allclose(drawn.T @ drawn / 20_000, w.T @ w, rtol=0.1, atol=0.1 * float((w.T @ w).max()))


def test_a_graph_propagates_as_on_the_cpu(data):
    graph = data.graph("interact")
    x, weight = torch.randn(graph.nodes, 16), torch.rand(2 * graph.edges)
    cases = [
        both(lambda x: graph.to(x.device).propagate(x), x),
        both(lambda x, w: graph.to(x.device).aggregate(x, w), x, weight),
        both(lambda x: graph.to(x.device).dot(x, x.flip(1)), x),
    ]
    for case in cases:
        for one, two in case:
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
