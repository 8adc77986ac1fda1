"""The noise process of a diffusion on rows: how noisy each time is, which times are trained on, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from hybridrec.shares import of_rows, whole


def linear_variance(steps: int, scale: float, low: float, high: float) -> list[float]:
    """Betas whose added variance ``1 - abar_t`` rises straight from ``scale * low`` to ``scale * high``.

    Wang et al. 2023, DiffRec, arXiv 2304.04971, eq. 4; the first beta is then fixed at 1e-5, as its authors do.
    """
    kept = 1 - torch.linspace(scale * low, scale * high, steps, dtype=torch.float64)
    betas = 1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])
    betas[0] = 1e-5
    return betas.clamp(max=0.999).tolist()


def truncated_linear(steps: int) -> list[float]:
    """Betas that rise straight from ``0.1 / T + 0.01`` to ``20 / T + 0.01``, or to ``1 / T + 0.01`` where that is above 1.

    DiffuRec's "truncated linear" schedule (Li et al. 2023, arXiv 2304.00686), as its authors' code has it.
    """
    low, high = 0.1 / steps + 0.01, 20 / steps + 0.01
    return torch.linspace(low, high if high <= 1 else 1 / steps + 0.01, steps, dtype=torch.float64).tolist()


def cosine(steps: int) -> list[float]:
    """Betas of the cosine schedule, which ends in pure noise: ``abar_t = cos^2((t/T + s) / (1 + s) pi/2)``, ``s = .008``.

    Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17, up to a constant; betas stay below .999.
    """
    at = (torch.linspace(0, 1, steps + 1, dtype=torch.float64) + 0.008) / 1.008
    kept = torch.cos(at * torch.pi / 2).square()
    return (1 - kept[1:] / kept[:-1]).clamp(max=0.999).tolist()


class Diffusion(nn.Module):
    """A diffusers ``DDPMScheduler`` that predicts the sample itself, with importance-sampled training times.

    Importance sampling: Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 18: t is drawn with ``p_t ~ sqrt(E[L_t^2])`` over the
    last ``memory`` losses of each time, once every time has as many; 0.1% of the draws stay uniform.
    Weights: the loss of time t counts ``SNR(t-1) - SNR(t)``, and 1 at t = 0 (DiffRec, eqs. 9-11).

    Shapes: times (B,) int64, 0 the least noisy; per-row values (B,).
    """

    recent: Tensor
    seen: Tensor
    kept: Tensor

    def __init__(self, betas: Sequence[float], memory: int = 10) -> None:
        super().__init__()
        self.scheduler = DDPMScheduler(
            num_train_timesteps=len(betas),
            trained_betas=list(betas),
            prediction_type="sample",
            clip_sample=False,
            timestep_spacing="trailing",
        )
        # Where noise is faint 1 - abar is a difference of nearly equal numbers: float32 would lose most of its digits.
        kept = (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)
        self.scheduler.alphas_cumprod = kept
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("recent", torch.zeros(len(betas), memory))
        self.register_buffer("seen", torch.zeros(len(betas), dtype=torch.int64))

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of the row, ``sqrt(abar_t)``, and the noise's deviation, ``sqrt(1 - abar_t)``; both (B,)."""
        kept = self.kept[t]
        return kept.sqrt().float(), (1 - kept).sqrt().float()

    def weights(self, t: Tensor) -> Tensor:
        """``SNR(t-1) - SNR(t)``, 1 at t = 0: (B,)."""
        ratio = self.kept / (1 - self.kept)
        gain = torch.cat([ratio.new_ones(1), ratio[:-1] - ratio[1:]])
        return gain[t].float()

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Times (n,) and what each loss must be multiplied by to stay unbiased, ``1 / (T p_t)`` (n,)."""
        steps, memory = self.recent.shape
        chance = self.recent.square().mean(1).sqrt()
        uniform = torch.full_like(chance, 1 / steps)
        full = (self.seen >= memory).all() & (chance.sum() > 0)
        chance = torch.where(
            full, 0.999 * chance / chance.sum().clamp(min=torch.finfo(chance.dtype).tiny) + 0.001 / steps, uniform
        )
        t = of_rows(lambda rows: torch.multinomial(chance, rows, replacement=True), n)
        return t, 1 / (steps * chance[t])

    @torch.no_grad()
    def record(self, t: Tensor, loss: Tensor) -> None:
        """Remember the losses (n,) of times ``t`` (n,), of all processes, the newest ``memory`` of each."""
        t, loss = whole(t), whole(loss)
        memory = self.recent.shape[1]
        t, order = t.sort(stable=True)
        count = torch.bincount(t, minlength=len(self.seen))
        place = torch.arange(len(t), device=t.device) - (count.cumsum(0) - count)[t]
        last = place >= count[t] - memory  # of more than fit, only the newest, so that no place is written twice
        self.recent[t[last], (self.seen[t] + place)[last] % memory] = loss.detach()[order][last].float()
        self.seen += count

    def back(self, asks: int | None = None) -> list[tuple[int, float, float]]:
        """Times from the noisiest on, ``asks`` of them (default all), with the posterior mean's weights of x0 and x_t.

        ``E[x_s | x_t, x0] = sqrt(abar_s) (1 - a) / (1 - abar_t) x0 + sqrt(a) (1 - abar_s) / (1 - abar_t) x_t`` with s the next
        time, ``a = abar_t / abar_s``, and abar = 1 after the last (Ho et al. 2020, arXiv 2006.11239, eq. 7; DiffRec, eq. 8).
        """
        self.scheduler.set_timesteps(asks or len(self.kept))
        times = self.scheduler.timesteps.tolist()
        kept = [*(self.kept[t].item() for t in times), 1.0]
        return [
            (t, after**0.5 * (1 - now / after) / (1 - now), (now / after) ** 0.5 * (1 - after) / (1 - now))
            for t, now, after in zip(times, kept[:-1], kept[1:], strict=True)
        ]
