"""Watches training for the failures that self-supervised recommenders are known by, and says what to try.

Pass ``Diagnostics()`` to ``fit(..., watch=[...])``. After every epoch it asks the method for ``evidence(batch)``, where the
method has it, measures, keeps the measures in ``history`` and warns once of each failure it recognises. ``fit`` logs the
measures beside the losses, to its own record and to trackers.

Evidence is a dict with any of: ``embeddings`` (n, D); ``views``, two views (n, D) of the same nodes; ``latent``, mean and
log-variance (B, D); ``rebuilt``, reconstructed and true rows (B, I); ``judged``, discriminator scores of real (B,) and fake
(n,); ``generated``, generated and true rows (B, I). A method without ``evidence`` is watched by its ``catalogue()``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.losses.explicit import alignment, uniformity
from hybridrec.losses.reconstruction import kl_per_dimension

AT_ONCE = 1024  # rows measured: enough for every mean here


class DiagnosticWarning(UserWarning):
    """A failure signature seen while training: names it, what was measured and what to try."""


def effective_rank(x: Tensor) -> Tensor:
    """The number of directions ``x`` (n, D) spreads over: ``exp`` of the entropy of its normalised singular values.

    Roy & Vetterli 2007 (EUSIPCO), eqs. 1 to 4. Rows are centred first; between 1 and min(n, D).
    """
    s = torch.linalg.svdvals((x - x.mean(0)).double())
    p = s / s.sum().clamp(min=torch.finfo(s.dtype).tiny)
    return torch.special.entr(p).sum().exp()


def active_units(mean: Tensor, threshold: float = 0.01) -> Tensor:
    """How many latent dimensions tell inputs apart: those whose mean has variance over ``threshold``; ``mean`` (B, D).

    Burda et al. 2016, arXiv 1509.00519, appendix C.
    """
    return (mean.var(0) > threshold).sum()


def likeness(rows: Tensor) -> Tensor:
    """The mean cosine of two different rows: 1 where all rows are the same; ``rows`` (B, I), B > 1."""
    unit = F.normalize(rows.float(), dim=1)
    n = len(unit)
    return (unit.sum(0).square().sum() - unit.square().sum()) / (n * (n - 1))


def diversity(rows: Tensor, k: int = 10) -> Tensor:
    """How many items the top ``k`` of all rows name between them: 0 if all name the same, 1 if no more could be; (B, I)."""
    k = min(k, rows.shape[1])
    found = rows.topk(k, dim=1).indices.unique().numel()
    return torch.tensor((found - k) / max(1, min(rows.shape[1], k * len(rows)) - k))


class Diagnostics:
    """One measurement an epoch and one warning a failure. Thresholds are arguments; the measures are in ``history``."""

    def __init__(
        self,
        least_rank: float = 0.1,
        most_alike: float = 0.999,
        least_active: float = 0.1,
        least_sharpness: float = 0.05,
        most_accuracy: float = 0.99,
        least_diversity: float = 0.1,
        patience: int = 3,
        swings: int = 8,
    ) -> None:
        self.least_rank, self.most_alike, self.least_active = least_rank, most_alike, least_active
        self.least_sharpness, self.most_accuracy, self.least_diversity = least_sharpness, most_accuracy, least_diversity
        self.patience, self.swings = patience, swings
        self.history: list[dict[str, float]] = []
        self.warned: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far, for a checkpoint."""
        return {"history": self.history, "warned": self.warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.history, self.warned = state["history"], state["warned"]

    @torch.no_grad()
    def __call__(self, method: nn.Module, batch: Any, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure ``method`` after an epoch that ended with ``batch`` and its ``terms``; returns what was measured."""
        found: dict[str, float] = {}
        for name, thing in _evidence(method, batch).items():
            found |= {key: float(value) for key, value in MEASURES[name](thing).items()}
        measures = {name: float(value) for name, value in terms.items()} | found
        self.history.append(measures)
        for check in (self._collapse, self._trivial, self._posterior, self._blurry, self._dominance, self._modes, self._swing):
            check(measures)
        return found

    def _warn(self, signature: str, found: str, remedy: str) -> None:
        if signature not in self.warned:
            self.warned.add(signature)
            warnings.warn(f"{signature}: {found}. Try {remedy}.", DiagnosticWarning, stacklevel=4)

    def _collapse(self, m: Mapping[str, float]) -> None:
        if "effective_rank" in m and m["effective_rank"] < max(1.5, self.least_rank * m["width"]):
            self._warn(
                "representation collapse",
                f"{m['width']:.0f} dimensions hold {m['effective_rank']:.1f} directions (uniformity {m['uniformity']:.2f})",
                "more or harder negatives, a lower temperature, a larger weight of the contrast, a variance or uniformity "
                "term, or stopping the gradient of one side",
            )

    def _trivial(self, m: Mapping[str, float]) -> None:
        if m.get("view_likeness", 0) > self.most_alike:
            self._warn(
                "trivial views",
                f"the two views of a node have cosine {m['view_likeness']:.4f}, so that the contrast teaches nothing",
                "a stronger view: keep fewer edges, add more noise, or contrast with another kind of view",
            )

    def _posterior(self, m: Mapping[str, float]) -> None:
        if "active_units" in m and m["active_units"] < self.least_active * m["latent_width"]:
            self._warn(
                "over-regularised latents (posterior collapse)",
                f"{m['active_units']:.0f} of {m['latent_width']:.0f} latent dimensions are active, "
                f"at {m['kl_per_dimension']:.4f} nats a dimension",
                "a smaller weight of the KL term, slower annealing, or a richer prior",
            )

    def _blurry(self, m: Mapping[str, float]) -> None:
        if "sharpness" in m and m["sharpness"] < self.least_sharpness * m["true_sharpness"]:
            self._warn(
                "blurry reconstructions",
                f"rows rebuilt for different users differ by {m['sharpness']:.4f} where their true rows differ by "
                f"{m['true_sharpness']:.4f} (1 - cosine)",
                "less masking or noise, a wider latent, a smaller weight of regularisation, or a multinomial likelihood",
            )

    def _dominance(self, m: Mapping[str, float]) -> None:
        recent = [h.get("accuracy", 0) for h in self.history[-self.patience :]]
        if len(recent) == self.patience and min(recent) > self.most_accuracy:
            self._warn(
                "discriminator dominance",
                f"it told real from generated in {min(recent):.1%} of cases or more for {self.patience} epochs, which leaves "
                "the generator no gradient to learn from",
                "a lower learning rate or a smaller discriminator, label smoothing, or more turns for the generator",
            )

    def _modes(self, m: Mapping[str, float]) -> None:
        if "true_diversity" in m and m["diversity"] < self.least_diversity * m["true_diversity"]:
            self._warn(
                "mode collapse",
                f"generated rows name {m['diversity']:.1%} of the items they could, true rows {m['true_diversity']:.1%}",
                "a stronger condition, more masking of what the discriminator sees, or a reconstruction term",
            )

    def _swing(self, m: Mapping[str, float]) -> None:
        for name in m:
            recent = [h[name] for h in self.history[-self.swings :] if name in h]
            if "/" not in name or len(recent) < self.swings:
                continue
            x = torch.tensor(recent)
            step = x.diff()
            turns = (step[1:] * step[:-1] < 0).float().mean()
            if turns > 0.8 and step.abs().mean() > 0.2 * x.abs().mean():
                self._warn(
                    f"oscillation of {name}",
                    f"over {self.swings} epochs it turned back {turns:.0%} of the time, by {step.abs().mean():.3g} on average",
                    "lower learning rates for both players, a moving average of the weights, or a gradient penalty",
                )


def _evidence(method: Any, batch: Any) -> dict[str, Any]:
    found = dict(method.evidence(batch)) if hasattr(method, "evidence") else {}
    if "embeddings" not in found and hasattr(method, "catalogue"):
        found["embeddings"] = method.catalogue()
    return found


def _sample(x: Tensor) -> Tensor:
    return x.detach().float()[torch.linspace(0, len(x) - 1, min(len(x), AT_ONCE), device=x.device).long()]


def _of_embeddings(x: Tensor) -> dict[str, Any]:
    x = _sample(x)
    return {"effective_rank": effective_rank(x), "uniformity": uniformity(x), "width": min(x.shape[1], len(x) - 1)}


def _of_views(views: tuple[Tensor, Tensor]) -> dict[str, Any]:
    one, two = map(_sample, views)
    return {"view_likeness": F.cosine_similarity(one, two, dim=1).mean(), "alignment": alignment(one, two)}


def _of_latent(latent: tuple[Tensor, Tensor]) -> dict[str, Any]:
    mean, log_variance = latent
    kl = kl_per_dimension(mean, log_variance).mean()
    return {"active_units": active_units(mean), "latent_width": mean.shape[1], "kl_per_dimension": kl}


def _of_rebuilt(rows: tuple[Tensor, Tensor]) -> dict[str, Any]:
    return {"sharpness": 1 - likeness(rows[0]), "true_sharpness": 1 - likeness(rows[1])}


def _of_judged(scores: tuple[Tensor, Tensor]) -> dict[str, Any]:
    real, fake = scores
    return {"accuracy": ((real > 0).float().mean() + (fake < 0).float().mean()) / 2}


def _of_generated(rows: tuple[Tensor, Tensor]) -> dict[str, Any]:
    made, real = rows
    # True rows are sets: noise breaks ties among what was chosen, and never lifts what was not.
    return {"diversity": diversity(made), "true_diversity": diversity(real + 0.5 * torch.rand_like(real))}


MEASURES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "embeddings": _of_embeddings,
    "views": _of_views,
    "latent": _of_latent,
    "rebuilt": _of_rebuilt,
    "judged": _of_judged,
    "generated": _of_generated,
}
