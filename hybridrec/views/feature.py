"""Feature-based views: embeddings, disturbed."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.dropout import dropout
from hybridrec.saving import configured
from hybridrec.shares import of_entries


@configured
class SignNoise:
    """``x + eps * sign(x) * n(u)``, u uniform, n to unit length: noise of length ``eps`` that stays in x's orthant.

    SimGCL, Yu et al. 2022, arXiv 2112.08679, eq. 9. (..., D) -> (..., D).
    """

    def __init__(self, eps: float = 0.1) -> None:
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.eps * x.sign() * F.normalize(torch.rand_like(x), dim=-1)


@configured
class Dropout:
    """Each value zeroed with probability ``rate``, the others scaled to keep the mean: Srivastava et al. 2014 (JMLR 15)."""

    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate

    def __call__(self, x: Tensor) -> Tensor:
        return dropout(x, self.rate)


def dropped(x: Tensor, rate: float, history: Histories) -> Tensor:
    """``Dropout`` of values (n,) of the entries of a batch's histories: the same entries whatever processes share the batch."""
    return x * of_entries(lambda n: dropout(torch.ones(n, device=x.device), rate), history)


@configured
class Adversarial:
    """``x + eps * n(g)`` by rows, g the gradient at x of the loss that the view is to raise.

    AMF / APR, He et al. 2018, arXiv 1808.03908, eq. 8. (..., D) -> (..., D); rows without a gradient stay as they are, and
    what is added is a constant: gradients of the view reach x alone.
    """

    def __init__(self, eps: float = 0.5) -> None:
        self.eps = eps

    def __call__(self, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        at = x.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(at), at)
        return x + self.eps * F.normalize(gradient, dim=-1)
