"""One contract for every method: what training, evaluation and saving ask of it."""

import inspect
import math

import pytest
import torch
from conftest import planted, worded

import hybridrec.methods
from hybridrec.data.batches import Histories, Query
from hybridrec.evaluation.ranking import evaluate
from hybridrec.saving import load_method, save_method
from hybridrec.training import fit

METHODS = sorted(hybridrec.methods.__all__)

# Arguments that make a method small enough to be tested, and how it is then trained, where the common ones do not do.
# The planted kinds hold nothing that tells their members apart: telling them apart must not outweigh ranking.
ARGUMENTS: dict[str, dict] = {
    "SGL": {"weight": 0.01},
    "SimGCL": {"weight": 0.01},
    "XSimGCL": {"weight": 0.01},
    "LightGCL": {"weight": 0.01},
    "HCCF": {"weight": 0.01, "hyperedges": 8},
    "DirectAU": {"gamma": 0.3},
    "DCCF": {"intents": 8},
    "NCL": {"clusters": 4, "warmup": 2},
    "AdaGCL": {"weight": 0.01},
    "GFormer": {"anchors": 4, "hold": 2, "keep": 0.6, "share": 0.5, "decay": 1e-2},
    "EGLN": {"warmup": 2},
    "AutoCF": {"seeds": 3, "hops": 1, "heads": 2, "hold": 2},
    "MultVAE": {"hidden": 32},
    "RecVAE": {"hidden": 32},
    "CDAE": {"decay": 1e-2},
    "CFGAN": {"hidden": 32, "zero": 0.3, "weight": 0.03},
    "IRGAN": {"warmup": 10, "draws": 4},
    "ACVAE": {"latent": 16, "hidden": 16, "dropout": 0.2, "anneal": 5},
    "DiffuRec": {"steps": 8, "each": 4, "uncertainty": 0.1},
    "MFGAN": {"width": 8, "warmup": 5},
    "RecDCL": {"follow": 1.0},
    "RLMRec": {"text_dim": 6},
    "RLMRecGen": {"text_dim": 6},
    "AMF": {"dim": 8, "warmup": 10, "eps": 0.1},
    "SimpleX": {"negatives": 8, "weight": 2.0},
    "BSPM": {"dim": 2},
    "Hybrid": {"modality": None, "words": None, "temperature": 0.2},
    "DiffRec": {"widths": [32, 16]},
    "DiffuASR": {"length": 3, "warmup": 2},
    "DiffusionPrior": {"dim": 4},
    "LDiffRec": {"latent": 8, "widths": [16], "weight": 1e-3, "floor": 1e-3, "beta": 0.01},
    "FlowCF": {"widths": [16]},
    "BERT4Rec": {"dropout": 0.1},
    "DuoRec": {"weight": 0.01},
    "MAERec": {"seeds": 3, "hops": 2, "negatives": 8},
    "S3Rec": {"attributes": None, "pretrain": 2},
    "ICLRec": {"intents": 4},
    "TiedSASRec": {"modality": None, "temperature": 0.2},
}
ROWS = {"batch_size": 32, "epochs": 60}
TRAINING: dict[str, dict] = {
    "ACVAE": {**ROWS, "epochs": 20},
    "DiffuRec": {"batch_size": 64, "epochs": 10, "lr": 3e-3},
    "MFGAN": {**ROWS, "epochs": 10},
    "DCCF": {"lr": 1e-3},
    "AdaGCL": {"lr": 3e-3},
    "CDAE": ROWS,
    "LDiffRec": ROWS,
    "BERT4Rec": {**ROWS, "lr": 3e-3},
    "S3Rec": {**ROWS, "epochs": 20},
    "SASRec": {**ROWS, "epochs": 20},
    "AsarRec": {**ROWS, "epochs": 10},
    "CL4SRec": {**ROWS, "epochs": 10},
    "MAERec": {**ROWS, "epochs": 20},
    "MaskedBranch": {**ROWS, "epochs": 20},
    "DiffuASR": {**ROWS, "epochs": 20},
    "DuoRec": {**ROWS, "epochs": 20},
    "ICLRec": {**ROWS, "epochs": 10},
    "TiedSASRec": {**ROWS, "epochs": 20},
    "MultVAE": {**ROWS, "epochs": 30},
    "RecVAE": {**ROWS, "epochs": 20, "lr": 5e-3},
    "CFGAN": {**ROWS, "lr": 3e-3},
    "IRGAN": {"epochs": 25},
    "AMF": {"epochs": 15},
    "DiffusionPrior": {"batch_size": 32},
    "FlowCF": {"batch_size": 64, "epochs": 60},
    "Hybrid": {"batch_size": 64},
}


def small(name, data):
    torch.manual_seed(0)
    cls = getattr(hybridrec.methods, name)
    given = {"dim": 16, "depth": 2, **ARGUMENTS.get(name, {})}
    known = inspect.signature(cls).parameters
    return cls(data, **{k: v for k, v in given.items() if k in known})


def batches(method, data, n=64):
    return method.sampler(data, batch_size=n, seed=0).epoch(0)


def query(data, users=(0, 7, 3)):
    """Some known users, one never seen in training and one without a history."""
    index = torch.tensor(users)
    known = data.histories().take(index)
    lists = [known.item[a:b].tolist() for a, b in zip(known.offset[:-1], known.offset[1:], strict=True)]
    return Query(torch.cat([index, torch.tensor([-1, -1])]), Histories.lists([*lists, [0, 2, 4], []]))


@pytest.fixture(scope="module")
def data():
    return worded(planted(users=150, taste=0.9))


@pytest.fixture(scope="module", params=METHODS)
def trained(request, data):
    method = small(request.param, data)
    if not hasattr(method, "solve"):
        before = {n: p.detach().clone() for n, p in method.named_parameters()}
        fit(
            method,
            data,
            **{"epochs": 20, "batch_size": 256, "lr": 1e-2, "every": 100, "progress": False, **TRAINING.get(request.param, {})},
        )
        method.moved = {n: not torch.equal(p, before[n]) for n, p in method.named_parameters()}
    else:
        fit(method, data)
    return method


@pytest.mark.parametrize("name", METHODS)
def test_terms_are_named_finite_scalars_and_reach_every_parameter(name, data):
    method = small(name, data)
    if hasattr(method, "solve"):
        pytest.skip("a closed form has no terms")
    method.train()
    if hasattr(method, "refresh"):
        with torch.no_grad():
            method.refresh()
    reached = set()
    for batch, _ in zip(batches(method, data), range(3), strict=False):
        terms = method(batch)
        assert terms and all(isinstance(k, str) for k in terms)
        for term in terms.values():
            assert term.shape == () and term.isfinite()
        method.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        for n, p in method.named_parameters():
            assert p.grad is None or p.grad.isfinite().all(), n
            if p.grad is not None and p.grad.abs().sum() > 0:
                reached.add(n)
    assert {n for n, p in method.named_parameters() if p.requires_grad} == reached


@pytest.mark.parametrize("name", METHODS)
def test_players_share_out_parameters_and_terms(name, data):
    method = small(name, data)
    if not hasattr(method, "players"):
        pytest.skip("one player")
    players = {k: list(v) for k, v in method.players().items()}
    ids = [id(p) for ps in players.values() for p in ps]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in method.parameters() if p.requires_grad}
    terms = method.train()(next(iter(batches(method, data))))
    assert {k.split("/")[0] for k in terms} == set(players)


def test_scores_of_known_and_unseen_users(trained, data):
    ask = query(data)
    with torch.no_grad():
        scores = trained.score(ask)
        assert scores.shape == (5, data.sides["item"]) and scores.isfinite().all()
        torch.testing.assert_close(trained.score(ask), scores)  # asking twice changes nothing
        if hasattr(trained, "represent"):
            torch.testing.assert_close(trained.represent(ask) @ trained.catalogue().T, scores)
    # The unseen user chose items of one kind only, and is offered more of them.
    order = scores[3].clone()
    order[[0, 2, 4]] = -torch.inf
    assert (order.topk(8).indices % 2 == 0).float().mean() > 0.6


def test_it_learns_a_planted_structure(trained, data):
    # Chance is 10 of the 29 items not masked, .34; who knows the two kinds, and no more, reaches about .7.
    recall = evaluate(trained, data, ks=(10,)).metrics["recall@10"]
    assert recall > 0.5, recall
    if hasattr(trained, "moved"):
        assert all(trained.moved.values()), trained.moved


def test_saved_and_loaded_it_scores_the_same_to_the_bit(trained, data, tmp_path):
    save_method(trained, tmp_path, data.schema)
    loaded, _ = load_method(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded.score(query(data)), trained.score(query(data)))


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_under_autocast_to_bfloat16(name, data, half):
    method = small(name, data)
    if hasattr(method, "solve"):
        pytest.skip("a closed form is not trained")
    record = fit(method, data, accelerator=half, epochs=2, every=2, batch_size=256, progress=False)
    assert all(math.isfinite(value) for line in record.history for value in line.values())
    assert {p.dtype for p in method.parameters()} == {torch.float32}


STRIDING = [name for name in METHODS if "stride" in inspect.signature(getattr(hybridrec.methods, name)).parameters]


@pytest.mark.parametrize("name", STRIDING)
def test_with_a_stride_all_of_a_long_history_is_trained_on(name, data):
    given = {"dim": 16, **ARGUMENTS.get(name, {}), "window": 4}
    method = getattr(hybridrec.methods, name)(data, **given, stride=2)
    seen = list(method.sampler(data, batch_size=64, seed=0).epoch(0))
    assert sum(len(batch.user) for batch in seen) > data.counts["user"]
    met = {(int(u), int(i)) for b in seen for u, i in zip(b.user[b.history.rows], b.history.item, strict=True)}
    assert met == set(zip(*data.train.index.tolist(), strict=True))
    method.train()
    assert all(term.isfinite() for term in method(seen[0]).values())


@pytest.mark.parametrize("name", METHODS)
def test_docstring_says_paper_and_taxonomy(name):
    text = inspect.getdoc(getattr(hybridrec.methods, name))
    lines = [line for line in text.splitlines() if line.count("|") == 3]
    assert len(lines) == 1, "one taxonomy line: paradigm | views | pairs | objective"
    assert lines[0].split("|")[0].strip() in ("supervised", "contrastive", "reconstructive", "adversarial")
    assert "arXiv" in text or "(" in text
