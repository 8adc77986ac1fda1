"""Alignment of texts with collaborative embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Plan, Query, generator
from hybridrec.data.dataset import Relation
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.foldin import least_squares
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.reconstruction import multinomial, scaled_cosine_error
from hybridrec.memo import Memo
from hybridrec.pairs.natural import paired
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

Objective = Callable[[Tensor, Tensor], Tensor]


class Items(NamedTuple):
    """Items of one fold: ``item`` (B,) int64."""

    item: Tensor


class FoldSampler:
    """Every item of every fold once an epoch; a batch holds items of one fold, and the folds take turns.

    ``fold`` (I,) int64 is -1 for items that are left out.
    """

    def __init__(
        self, data: Dataset, batch_size: int, seed: int = 0, device: torch.device | str = "cpu", *, fold: Tensor
    ) -> None:
        del data
        self.seed = seed
        self.members = [(fold == f).nonzero().flatten().to(device) for f in range(int(fold.max()) + 1)]
        largest = max(len(m) for m in self.members)
        # As many batches a fold as the largest needs, so that the turns come out even.
        each = -(-largest // batch_size)
        self.plans = [Plan(len(m), -(-len(m) // each), seed + f) for f, m in enumerate(self.members)]
        self.turns = [(f, s) for s in range(each) for f in range(len(self.plans)) if s < self.plans[f].steps]

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.turns)

    def size(self, step: int) -> int:
        """Items of batch ``step``, all processes together."""
        fold, part = self.turns[step]
        return self.plans[fold].size(part)

    def epoch(self, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Items]:
        """Batches of epoch ``epoch`` from batch ``start`` on, the share of process ``rank``."""
        orders = [m[plan.order(epoch, m.device)] for m, plan in zip(self.members, self.plans, strict=True)]
        for fold, part in self.turns[start:]:
            yield Items(orders[fold][self.plans[fold].mine(part, rank, world)])


@configured
class Contrast:
    """InfoNCE both ways between texts and collaborative embeddings of the same items: ``(B, D), (B, D) ->`` scalar.

    Ren et al. 2024, RLMRec-Con, arXiv 2310.15950, eqs. 6 and 7.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        self.temperature = temperature

    def __call__(self, text: Tensor, collaborative: Tensor) -> Tensor:
        there = info_nce(paired(text, collaborative), self.temperature)
        return (there + info_nce(paired(collaborative, text), self.temperature)) / 2


@configured
class Rebuild:
    """Scaled cosine error of collaborative embeddings rebuilt from texts alone: ``(B, D), (B, D) ->`` scalar.

    Ren et al. 2024, RLMRec-Gen, arXiv 2310.15950, eq. 8, mirrored: the masked node is the step's item, hidden from the users
    it is scored for, and the text encoder rebuilds it. Hou et al. 2022, GraphMAE, arXiv 2205.10803, eq. 2 for the error.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def __call__(self, text: Tensor, collaborative: Tensor) -> Tensor:
        return scaled_cosine_error(text, collaborative, self.gamma)


class Align(nn.Module):
    """A text encoder tuned until the texts of items stand where collaborative filtering would put the items.

    Ren et al. 2024, RLMRec, arXiv 2310.15950 (``Contrast``, ``Rebuild``); Ren & Huang 2024, EasyRec, arXiv 2408.08821 (users
    against texts). contrastive | data-based views (text) | natural pairs | InfoNCE

    Items' own embeddings are few. So users ask as well: a user vector, folded in from the history without the items of the
    step, must pick the texts of those it chose out of all texts of the step. The items are dealt into ``folds``; a step holds
    items of one fold, and its users' vectors have never seen that fold, as they have never seen a cold item:

        L = - 1/n sum_(u, i) log exp(s <p_u, z_i>) / sum_j exp(s <p_u, z_j>) + weight * objective(z, q)

    with z the encoded texts of the step's items, q their collaborative embeddings, (u, i) the n links of these items, and s a
    learned scale.

    Args:
        data: its training rows are learned from; items without any are left out.
        encoder: what is tuned; ``start`` puts its projection where training begins.
        texts: the text of every item (I strings).
        items: collaborative embeddings (I, D), for example the ``catalogue()`` of a trained method.
        objective: compares texts and embeddings of the same items.
        weight: of the objective.
        views: other renderings of all texts (see ``views/text.py``), each I strings.
        share: how often one of the ``views`` stands for the text in training.
        folds: into how many the items are dealt.
        seed: deals the folds.

    Shapes: a batch of B items -> scalars; ``represent`` (B, D) and ``catalogue`` (I, D), all items by text alone.
    """

    def __init__(
        self,
        data: Dataset,
        encoder: TextEncoder,
        texts: Sequence[str],
        items: Tensor,
        objective: Objective | None = None,
        weight: float = 0.1,
        views: Sequence[Sequence[str]] = (),
        share: float = 0.5,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        count = data.counts[data.target]
        for found in (texts, *views):
            if len(found) != count:
                raise DataError(f"{len(found)} texts for {count} {data.target}s: give one for each, in the order of ids")
        if tuple(items.shape) != (count, encoder.dim):
            raise DataError(f"item embeddings have shape {tuple(items.shape)}, wanted {(count, encoder.dim)}")
        self.encoder, self.objective, self.weight, self.share = encoder, objective or Contrast(), weight, share
        self.count, self.renderings = count, 1 + len(views)
        self.texts = encoder.tokenise([t for found in (texts, *views) for t in found])
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

        known = data.train.index[1].unique()
        self.fold = torch.full((count,), -1)
        self.fold[known[torch.randperm(len(known), generator=generator("cpu", seed))]] = torch.arange(len(known)) % folds
        # What training never saw has no embedding: it must not speak in a history.
        self.register_buffer(
            "items", torch.where((self.fold >= 0).unsqueeze(1), items.detach().float().cpu(), 0.0), persistent=False
        )
        history = data.histories()
        self.register_buffer("users", torch.stack([self._without(history, f) for f in range(folds)]), persistent=False)
        self.register_buffer("everyone", least_squares(history, self.items), persistent=False)
        self.links = _by_item(data.train, count)
        self.sampler = partial(FoldSampler, fold=self.fold)
        self._memo = Memo()

    items: Tensor
    users: Tensor
    everyone: Tensor

    def _without(self, history: Histories, fold: int) -> Tensor:
        """Users' vectors from what they chose outside ``fold``: (U, D)."""
        kept = (self.fold != fold)[history.item]
        offset = torch.cat([torch.zeros(1, dtype=torch.int64), kept.long().cumsum(0)])[history.offset]
        return least_squares(
            Histories(offset, history.item[kept]), torch.where((self.fold != fold).unsqueeze(1), self.items, 0.0)
        )

    def start(self, strength: float) -> None:
        """Put the projection at the ridge regression of the embeddings on the texts as encoded now, and s where it fits best.

        ``min_W sum_i |q_i - W (s_i - mean s) - mean q|^2 + strength |W|^2`` over items with training rows; s minimises
        ``choose``.
        """
        known = self.fold >= 0
        with torch.no_grad():
            s, q = self.sentences()[known.to(self.items.device)].double(), self.items[known.to(self.items.device)].double()
            centre, middle = s.mean(0), q.mean(0)
            system = (s - centre).T @ (s - centre)
            system.diagonal().add_(strength)
            w = torch.linalg.solve(system, (s - centre).T @ (q - middle)).T
            self.encoder.projection.weight.copy_(w)
            self.encoder.projection.bias.copy_(middle - w @ centre)
            z, seen = self.catalogue(), [(self.fold == f).nonzero().flatten() for f in range(len(self.users))]
            scales = torch.linspace(0, math.log(64), 25).tolist()
            self.log_scale.fill_(min(scales, key=lambda s: self._unlikely(s, z, seen)))

    def _unlikely(self, log_scale: float, z: Tensor, folds: list[Tensor]) -> float:
        """The loss of ``choose`` over all folds at that scale."""
        self.log_scale.fill_(log_scale)
        return sum(
            self._choose(users, f, z[f.to(z.device)], self.links).item() for users, f in zip(self.users, folds, strict=True)
        )

    def sentences(self) -> Tensor:
        """All items' texts as the encoder gives them before the projection, without gradient or dropout: (I, width)."""
        training = self.encoder.training
        self.encoder.eval()
        found = self._memo(self.encoder.model, lambda: self.encoder.sentences(self._texts(torch.arange(self.count))))
        self.encoder.train(training)
        return found

    def forward(self, batch: Items) -> dict[str, Tensor]:
        """Terms ``choose`` (users against texts) and ``align`` (items' embeddings against texts) of items of one fold."""
        item = batch.item
        z = self.encoder(self._texts(item + self.count * self._renderings(item)))  # (B, D)
        choose = self._choose(self.users[self.fold[item[0].cpu()]], item, z, self.links)
        return {"choose": choose, "align": self.weight * self.objective(z, self.items[item])}

    def _renderings(self, item: Tensor) -> Tensor:
        """Which rendering of each text is read this time: (B,), 0 the text itself."""
        other = torch.randint(1, max(2, self.renderings), item.shape, device=item.device)
        return torch.where(torch.rand(item.shape, device=item.device) < self.share * (self.renderings > 1), other, 0)

    def _texts(self, rows: Tensor) -> Any:
        if self.texts.token.device != self.items.device:
            self.texts = type(self.texts)(*(x.to(self.items.device) for x in self.texts))
        return self.texts.take(rows.to(self.items.device))

    def _choose(self, users: Tensor, item: Tensor, z: Tensor, links: Histories) -> Tensor:
        """Mean over the links of ``item`` of -log of the share that the chosen text has among the texts ``z`` (B, D)."""
        chosen = links.take(item.to(links.item.device))
        user, row = chosen.item.to(z.device).unique(return_inverse=True)
        logits = self.log_scale.exp() * users[user] @ z.float().T  # (users, B)
        return multinomial(logits, row, chosen.rows.to(z.device)) * len(user) / max(1, len(row))

    @torch.no_grad()
    def surprise(self, relation: Relation) -> float:
        """The same loss on held-out links: users with their whole training history choose among the items of ``relation``."""
        item = relation.index[1].unique()
        training = self.training
        self.eval()
        z = self.encoder(self._texts(item))
        self.train(training)
        return self._choose(self.everyone, item, z, _by_item(relation, self.count)).item()

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The adapter learns at ``lr``, the projection, which begins at its optimum, at a third of it."""
        rest = [*self.encoder.projection.parameters(), self.log_scale]
        return [{"params": self.encoder.adapter(), "lr": lr}, {"params": rest, "lr": lr / 3, "weight_decay": 0.0}]

    def catalogue(self) -> Tensor:
        """The vectors of all items by their texts alone: (I, D)."""
        return self.encoder.projection(self.sentences())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D), folded in from histories."""
        return least_squares(query.history, self.items)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


def _by_item(relation: Relation, items: int) -> Histories:
    """The users of every item, each once."""
    user, item = relation.index.unique(dim=1)
    order = item.argsort(stable=True)
    offset = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(item, minlength=items).cumsum(0)])
    return Histories(offset, user[order])
