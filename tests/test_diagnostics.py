import inspect
import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn, tensor

import hybridrec.methods
from hybridrec.diagnostics import Diagnostics, DiagnosticWarning, active_units, diversity, effective_rank, likeness
from hybridrec.methods import CFGAN, SGL, MultVAE
from hybridrec.training import fit


def test_effective_rank_by_hand():
    # Two centred directions of equal strength; one; and a third four times as strong as the other.
    torch.testing.assert_close(effective_rank(tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(effective_rank(tensor([[1.0, 1], [-1, -1]])), tensor(1.0, dtype=torch.float64))
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    x = tensor([[4.0, 0], [-4, 0], [0, 1], [0, -1]])
    torch.testing.assert_close(effective_rank(x), tensor(math.exp(entropy), dtype=torch.float64))


def test_measures_by_hand():
    assert active_units(tensor([[0.0, 5.0], [0.05, -5.0]])) == 1
    rows = tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(likeness(rows), tensor(1 / 3))
    torch.testing.assert_close(diversity(rows, k=1), tensor(1 / 2))


class Says(nn.Module):
    """A method that gives the evidence it was told to."""

    def __init__(self, **evidence):
        super().__init__()
        self.evidence = lambda batch: evidence


def watch(evidence, epochs=1, terms=({},), **settings):
    seen = Diagnostics(**settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(epochs):
            seen(Says(**evidence), None, terms[i % len(terms)])
    return seen, [str(w.message) for w in caught if w.category is DiagnosticWarning]


GOOD = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
REAL = (torch.rand(64, 50, generator=torch.Generator().manual_seed(1)) < 0.2).float()
PROVOKED = {
    "representation collapse": {"embeddings": GOOD[:, :1] * torch.ones(16) + 1e-4 * GOOD},
    "trivial views": {"views": (GOOD, GOOD + 1e-3)},
    "over-regularised latents": {"latent": (1e-3 * GOOD, torch.zeros(200, 16))},
    "blurry reconstructions": {"rebuilt": (REAL.mean(0) + 1e-4 * torch.rand(64, 50), REAL)},
    "mode collapse": {"generated": (torch.arange(50.0) + 1e-3 * torch.rand(64, 50), REAL)},
    "discriminator dominance": {"judged": (torch.full((64,), 5.0), torch.full((64,), -5.0))},
}
HEALTHY = {
    "embeddings": GOOD,
    "views": (GOOD, GOOD + 0.3 * torch.randn(200, 16)),
    "latent": (GOOD, torch.zeros(200, 16)),
    "rebuilt": (REAL + 0.1 * torch.rand(64, 50), REAL),
    "generated": (REAL + 0.1 * torch.rand(64, 50), REAL),
    "judged": (torch.randn(64), torch.randn(64)),
}


@pytest.mark.parametrize("signature", PROVOKED)
def test_each_failure_gives_one_warning_that_names_it_and_a_remedy(signature):
    seen, messages = watch(PROVOKED[signature], epochs=5)
    assert len(messages) == 1 and messages[0].startswith(signature) and ". Try " in messages[0]
    assert len(seen.history) == 5


def test_oscillation_is_told_from_noise_and_from_progress():
    swinging = [{"generator/deceive": tensor(v)} for v in (1.0, 3.0)]
    assert watch({}, epochs=10, terms=swinging)[1][0].startswith("oscillation of generator/deceive")
    falling = [{"generator/deceive": tensor(10.0 - i)} for i in range(10)]
    assert not watch({}, epochs=10, terms=falling)[1]
    small = [{"generator/deceive": tensor(v)} for v in (1.0, 1.05)]
    assert not watch({}, epochs=10, terms=small)[1]


def test_healthy_training_gives_no_warning():
    seen, messages = watch(HEALTHY, epochs=5)
    assert not messages
    assert {"effective_rank", "uniformity", "alignment", "active_units", "kl_per_dimension", "accuracy"} <= set(seen.history[0])


def train(method, data, diagnostics, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(method, data, **{"epochs": 4, "batch_size": 64, "lr": 1e-2, "progress": False, "watch": [diagnostics], **settings})
    return {str(w.message).split(":")[0] for w in caught if w.category is DiagnosticWarning}


def test_a_view_that_keeps_every_edge_is_seen_while_training(planted):
    torch.manual_seed(0)
    assert train(SGL(planted, dim=8, keep=1.0), planted, Diagnostics()) == {"trivial views"}
    torch.manual_seed(0)
    assert not train(SGL(planted, dim=8, keep=0.7), planted, Diagnostics())


def test_a_collapsed_method_is_seen_by_its_catalogue():
    method = SimpleNamespace(catalogue=lambda: torch.ones(50, 8) + 1e-6 * torch.randn(50, 1))
    with pytest.warns(DiagnosticWarning, match="representation collapse"):
        Diagnostics()(method, None, {})


def test_a_heavy_prior_is_seen_while_training(planted):
    torch.manual_seed(0)
    found = train(MultVAE(planted, dim=8, hidden=16, beta=50.0, anneal=1), planted, Diagnostics(), epochs=10, batch_size=16)
    assert "over-regularised latents (posterior collapse)" in found


def test_a_discriminator_without_opponent_is_seen_while_training(planted):
    torch.manual_seed(0)
    method = CFGAN(planted, hidden=16, partial=1.0, weight=0.0)
    players = {"discriminator": lambda g: torch.optim.Adam(g, lr=0.02), "generator": lambda g: torch.optim.SGD(g, lr=1e-6)}
    assert "discriminator dominance" in train(method, planted, Diagnostics(), epochs=40, batch_size=30, optimizer=players)


def test_measures_are_logged_beside_the_losses_and_all_players_are_seen(planted):
    torch.manual_seed(0)
    seen, method = Diagnostics(), CFGAN(planted, hidden=16)
    record = fit(method, planted, epochs=2, batch_size=64, progress=False, watch=[seen], every=100)
    assert {"accuracy", "diversity", "true_diversity"} <= set(record.history[1])
    assert record.history[1]["accuracy"] == seen.history[1]["accuracy"]
    assert {"discriminator/judge", "generator/deceive"} <= set(seen.history[0])


@pytest.mark.parametrize("name", [n for n in hybridrec.methods.__all__ if hasattr(getattr(hybridrec.methods, n), "evidence")])
def test_the_evidence_of_every_method_can_be_measured(name, planted):
    cls = getattr(hybridrec.methods, name)
    given = {"dim": 8, "hidden": 8, "depth": 2}
    method = cls(planted, **{k: v for k, v in given.items() if k in inspect.signature(cls).parameters}).train()
    batch = next(iter(method.sampler(planted, batch_size=32, seed=0).epoch(0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)
        measures = Diagnostics()(method, batch, {})
    assert len(measures) > 1 and all(math.isfinite(x) for x in measures.values())


def test_a_term_called_as_a_measure_is_not_taken_for_one():
    """AsarRec has a term ``diversity``."""
    watch = Diagnostics()
    assert watch(nn.Linear(2, 2), None, {"diversity": tensor(0.0)}) == {}
    assert watch.history == [{"diversity": 0.0}]
