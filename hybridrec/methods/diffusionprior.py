"""A diffusion prior of users' vectors: from a history, a text or both to where a user stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.errors import ArgumentError, DataError
from hybridrec.foldin import least_squares
from hybridrec.linear import interactions, right_vectors
from hybridrec.losses.softmax import catalogue_cross_entropy
from hybridrec.saving import configured
from hybridrec.shares import of_entries, of_rows
from hybridrec.views.data import part_of_rows

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Conditions(NamedTuple):
    """What is known of users: ``history`` and ``text`` (B, D), zero where ``told`` (B, 2) is 0."""

    history: Tensor
    text: Tensor
    told: Tensor

    def silent(self) -> Conditions:
        """The same without the text."""
        return Conditions(self.history, torch.zeros_like(self.text), self.told * self.told.new_tensor([1.0, 0.0]))


@configured
class DiffusionPrior(nn.Module):
    """A user's vector rebuilt from noise, given a part of the history, a text or both; items keep the vectors they have.

    Ramesh et al. 2022, unCLIP (DALL-E 2), arXiv 2204.06125, section 2.2, where a caption becomes an image's embedding: here
    what is said and what was chosen become the user's. Noise: Gaussian, the cosine schedule. Guidance: Ho & Salimans 2022,
    arXiv 2207.12598. ``choose``: the items left out, by their softmax over the catalogue under the rebuilt vector (score
    interpolation, Dieleman et al. 2022, arXiv 2211.15089); ``rebuild``: the squared error, of every time alike as there.
    reconstructive | data- and feature-based views (entries left out, Gaussian noise) | - | softmax and squared error

    x0 is the least-squares vector of the whole row among fixed item vectors (``foldin``), centred and scaled by coordinate. In
    training a random part of the row is known, none with probability ``alone``; a text is known but with probability
    ``silent``: the mean place of up to ``texts`` of the row's items, or a sentence about the row, in direction alone, blurred
    by noise of ``blur`` (conditioning augmentation, Ho et al. 2021, arXiv 2106.15282). Items told of are not asked for.

    Inference takes ``steps`` posterior means from the noise's mean, 0; one is the control. D(h, c) is what is rebuilt from
    history and text, f the history's own vector (of nobody's, D of nothing), and the user ``f + share (D(h) - f)
    + guidance (D(h, c) - D(h))``: guidance 1 without a history is D(c), ``share`` 0 without a text is f.

    Items are the leading singular vectors until ``adopt`` gives others. ``unseen`` and ``ridge`` are those of the fold-in,
    ``width`` and ``depth`` of the denoiser, ``times`` the noise levels, ``square`` weighs the squared error.
    """

    sampler = RowSampler
    items: Tensor
    centre: Tensor
    spread: Tensor
    middle: Tensor
    text: Tensor
    said: Tensor
    mention_offset: Tensor
    mention_item: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        width: int = 128,
        depth: int = 1,
        times: int = 100,
        unseen: float = 0.1,
        ridge: float = 0.1,
        alone: float = 0.3,
        silent: float = 0.5,
        texts: int = 10,
        blur: float = 1.0,
        dropout: float = 0.3,
        square: float = 0.1,
        share: float = 0.0,
        steps: int = 1,
        guidance: float = 1.5,
    ) -> None:
        super().__init__()
        from hybridrec.decoders.denoiser import VectorDenoiser
        from hybridrec.decoders.diffusion import Diffusion, cosine

        if not 1 <= steps <= times:
            raise ArgumentError(f"steps must lie between 1 and times = {times}, not {steps}")
        self.times, self.unseen, self.ridge, self.alone, self.silent = times, unseen, ridge, alone, silent
        self.texts, self.blur, self.square, self.share = texts, blur, square, share
        self.steps, self.guidance = steps, guidance
        self.denoiser = VectorDenoiser(dim, width, depth, dropout=dropout)
        self.diffusion = Diffusion(cosine(times))
        self.log_scale = nn.Parameter(torch.zeros(()))  # of the softmax
        for name in ("items", "centre", "spread", "middle"):
            self.register_buffer(name, torch.empty(0))
        for name in ("text", "said", "mention_offset", "mention_item"):  # read in training alone
            self.register_buffer(name, torch.empty(0), persistent=False)
        if len(data.train):
            x = interactions(data)
            vectors = right_vectors(x, min(dim, min(x.shape) - 1))
            self.adopt(data, F.pad(vectors, (0, dim - vectors.shape[1])))

    @torch.no_grad()
    def adopt(
        self,
        data: Dataset,
        items: Tensor,
        text: Tensor | None = None,
        said: tuple[Tensor, Histories] | None = None,
    ) -> Self:
        """Take other item vectors (I, D), with the places (I, D) of items' texts among them, where there are texts.

        ``said``: for every user of training the place (U, D) of a sentence, zero for none, and the items it mentions.
        Raises DataError where vectors are not of that shape.
        """
        wanted = (data.sides["item"], self.denoiser.config["dim"])
        for name, x in (("item vectors", items), ("places of texts", text)):
            if x is not None and tuple(x.shape) != wanted:
                raise DataError(f"{name} have shape {tuple(x.shape)}, wanted {wanted}")
        device = self.items.device
        self.items = items.detach().float().to(device)
        rows = data.histories().to(device)
        rows = rows.take(rows.lengths.nonzero().flatten())
        vectors = self.fold(rows)
        self.centre, self.spread = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
        # At the start a known part's scores spread as logits do: neither flat nor one item's alone.
        self.log_scale.copy_((2 / (vectors[:256] @ self.items.T).std().clamp(min=1e-6)).log())
        self.middle = self.text = self.said = self.items.new_empty(0)
        if text is not None:
            self.text = text.detach().float().to(device)
            self.middle = self.text[data.train.index[1].unique().to(device)].mean(0)
            if said is not None:
                self.said = said[0].detach().float().to(device)
                self.mention_offset, self.mention_item, _ = said[1].to(device)
        return self

    @property
    def textual(self) -> bool:
        """Whether it reads texts: a prompt alone is then a query."""
        return bool(self.middle.numel())

    def components(self) -> dict[str, Any]:
        """What an artifact keeps in files of diffusers' own format."""
        return {"denoiser": self.denoiser, "scheduler": self.diffusion.scheduler}

    def fold(self, history: Histories) -> Tensor:
        """Histories' own vectors (B, D)."""
        return least_squares(history, self.items, self.unseen, self.ridge)

    def known(self, history: Histories, text: Tensor | None) -> Conditions:
        """Conditions of ``history`` and of the places ``text`` (B, D), zero for none."""
        told = torch.zeros(len(history.lengths), 2, device=self.items.device)
        told[:, 0] = (history.lengths > 0).float()
        own = (self.fold(history) - self.centre) / self.spread * told[:, :1]
        if text is None or not self.textual:
            return Conditions(own, torch.zeros_like(own), told)
        told[:, 1] = text.any(1).float()
        direction = F.normalize(text - self.middle, dim=1) * text.shape[1] ** 0.5
        return Conditions(own, direction * told[:, 1:], told)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``choose`` and ``rebuild`` of a batch of rows."""
        history, n, device = batch.history, len(batch.user), batch.user.device
        x0 = (self.fold(history) - self.centre) / self.spread
        kept = part_of_rows(history, self.alone)
        part = Histories(F.pad(kept.long().cumsum(0), (1, 0))[history.offset], history.item[kept])
        text, told_of = self.words(batch) if self.textual else (None, torch.zeros_like(kept))
        given = self.known(part, text)
        noise, blur = of_rows(lambda rows: torch.randn(rows, 2, x0.shape[1], device=device), n).unbind(1)
        given = given._replace(text=given.text + self.blur * blur * given.told[:, 1:])
        t, _ = self.diffusion.draw(n)
        signal, deviation = self.diffusion.levels(t)
        rebuilt = self.denoiser(signal.unsqueeze(1) * x0 + deviation.unsqueeze(1) * noise, t, *given)
        asked = ~kept & ~told_of
        asked &= of_entries(lambda m: torch.rand(m, device=device), history) < 8 / history.lengths.clamp(min=8)[history.rows]
        user = (self.centre + self.spread * rebuilt) * self.log_scale.exp()
        target, row = history.item[asked], history.rows[asked]
        choose = catalogue_cross_entropy(user[row], self.items, target) if len(target) else 0 * user.sum()
        return {"choose": choose, "rebuild": self.square * (rebuilt - x0).square().mean()}

    def words(self, batch: Rows) -> tuple[Tensor, Tensor]:
        """Places of texts about rows (B, D), zero for none, and which entries (n,) they tell of."""
        history, n, device = batch.history, len(batch.user), batch.user.device
        lot = of_rows(lambda rows: torch.rand(rows, 3 + self.texts, device=device), n)
        count = (lot[:, 0] * self.texts).long() + 1
        entry = (lot[:, 3:] * history.lengths.unsqueeze(1)).long() + history.offset[:-1].unsqueeze(1)  # (B, texts)
        used = torch.arange(self.texts, device=device) < count.unsqueeze(1)
        text = (self.text[history.item[entry]] * used.unsqueeze(2)).sum(1) / count.unsqueeze(1)
        speaks = lot[:, 1] >= self.silent
        sentence = torch.zeros_like(speaks)
        told_of = torch.zeros(len(history.item), dtype=torch.bool, device=device)
        if len(self.said):
            sentence = speaks & self.said[batch.user].any(1) & (lot[:, 2] < 0.5)
            text = torch.where(sentence.unsqueeze(1), self.said[batch.user], text)
            m, items = Histories(self.mention_offset, self.mention_item).take(batch.user), len(self.items)
            told_of = torch.isin(history.rows * items + history.item, m.rows * items + m.item) & sentence[history.rows]
        told_of[entry[used & (speaks & ~sentence).unsqueeze(1)]] = True
        return text * speaks.unsqueeze(1), told_of

    def catalogue(self) -> Tensor:
        """Item vectors (I, D), as they were adopted."""
        return self.items

    def rebuild(self, given: Conditions) -> Tensor:
        """What the reverse process makes of its conditions: user vectors (B, D)."""
        x = torch.zeros_like(given.history)
        for t, clean, noised in self.diffusion.back(self.steps):
            x = clean * self.denoiser(x, t, *given) + noised * x
        return self.centre + self.spread * x

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D) from histories and texts, the places of ``query.text`` among items."""
        given = self.known(query.history, query.text)
        silent = given.silent()
        plain = self.rebuild(silent)
        own = self.centre + self.spread * given.history
        user = torch.where(given.told[:, :1] > 0, torch.lerp(own, plain, self.share), plain)
        return user + self.guidance * (self.rebuild(given) - plain) if bool(given.told[:, 1].any()) else user

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
