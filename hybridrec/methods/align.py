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
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.reconstruction import scaled_cosine_error
from hybridrec.memo import Memo
from hybridrec.pairs.natural import gather, paired
from hybridrec.precision import full_precision
from hybridrec.saving import configured
from hybridrec.shares import of_rows

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

        L = - sum_(u, i) w_u log exp(s <p_u, z_i>) / sum_j exp(s <p_u, z_j>) / sum_(u, i) w_u + weight * objective(z, q)

    with z the encoded texts of the step's items, q their collaborative embeddings, (u, i) the links of these items, s a learned
    scale, and ``w_u = 1 / sqrt(links of u here)``.

    Args:
        data: its training rows are learned from; items without any are left out.
        encoder: what is tuned; ``start`` puts its projection where training begins.
        texts: the text of every item (I strings).
        method: trained on the same rows: its ``catalogue()`` are the items' embeddings q, its ``represent`` folds users in.
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
        method: Any,
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
        with torch.no_grad():
            items = method.catalogue().detach().float()
        if tuple(items.shape) != (count, encoder.dim):
            raise DataError(f"the item embeddings have shape {tuple(items.shape)}, wanted {(count, encoder.dim)}")
        self.encoder, self.objective, self.weight, self.share = encoder, objective or Contrast(), weight, share
        self.count, self.renderings = count, 1 + len(views)
        self.texts = encoder.tokenise([t for found in (texts, *views) for t in found])
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

        known = data.train.index[1].unique()
        self.fold = torch.full((count,), -1)
        self.fold[known[torch.randperm(len(known), generator=generator("cpu", seed))]] = torch.arange(len(known)) % folds
        self.register_buffer("items", items, persistent=False)
        history = data.histories()
        # The method is asked, not trained: it is no part of this module.
        self._fold_in = [method.represent]
        self.register_buffer("users", torch.stack([self._without(history, f) for f in range(folds)]), persistent=False)
        self.register_buffer("everyone", self._without(history, -1), persistent=False)
        self.links = _by_item(data.train, count)
        self.sampler = partial(FoldSampler, fold=self.fold)
        self._memo = Memo()
        self._frozen: Tensor | None = None

    items: Tensor
    users: Tensor
    everyone: Tensor

    def _without(self, history: Histories, fold: int) -> Tensor:
        """User vectors (B, D) from what they chose outside ``fold``; items that training never saw say nothing in any case."""
        history = history.to(self.items.device)
        of = self.fold.to(self.items.device)[history.item]
        kept = (of != fold) & (of >= 0)
        offset = torch.nn.functional.pad(kept.long().cumsum(0), (1, 0))[history.offset]
        nobody = torch.full((len(offset) - 1,), -1, device=offset.device)
        time = None if history.time is None else history.time[kept]
        with torch.no_grad():
            return self._fold_in[0](Query(nobody, Histories(offset, history.item[kept], time))).detach().float()

    def start(self, strength: float) -> None:
        """Put the projection at the ridge regression of embeddings on texts as the frozen model has them, s where it fits best.

        ``min_W sum_i |q_i - W (s_i - mean s) - mean q|^2 + strength |W|^2`` over items with training rows; s minimises
        ``choose``.
        """
        known = self.fold >= 0
        with torch.no_grad():
            known = known.to(self.items.device)
            s, q = self.frozen()[known].double(), self.items[known].double()
            centre, middle = s.mean(0), q.mean(0)
            system = (s - centre).T @ (s - centre)
            system.diagonal().add_(strength)
            w = torch.linalg.solve(system, (s - centre).T @ (q - middle)).T
            self.encoder.anchor(w, middle - w @ centre)
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
        return self._memo(self.encoder.model, lambda: self._encoded(self.encoder.sentences))

    def frozen(self) -> Tensor:
        """The same without the adapter."""
        if self._frozen is None:
            self._frozen = self.sentences() if self.encoder.untouched() else self._encoded(self.encoder.frozen)
        return self._frozen

    @torch.no_grad()
    def _encoded(self, encode: Callable[[Any], Tensor], items: Tensor | None = None) -> Tensor:
        training = self.encoder.training
        self.encoder.eval()
        found = encode(self._texts(torch.arange(self.count) if items is None else items))
        self.encoder.train(training)
        return found

    def forward(self, batch: Items) -> dict[str, Tensor]:
        """Terms ``choose`` (users against texts) and ``align`` (items' embeddings against texts) of items of one fold."""
        item = batch.item
        z = self.encoder(self._texts(item + self.count * self._renderings(item)))  # (B, D)
        # The texts of the step are those of all processes.
        choose = self._choose(self.users[self.fold[item[0].cpu()]], gather(item)[0], gather(z)[0], self.links)
        return {"choose": choose, "align": self.weight * self.objective(z, self.items[item])}

    def _renderings(self, item: Tensor) -> Tensor:
        """Which rendering of each text is read this time: (B,), 0 the text itself."""
        other = of_rows(lambda n: torch.randint(1, max(2, self.renderings), (n,), device=item.device), len(item))
        chance = of_rows(lambda n: torch.rand(n, device=item.device), len(item))
        return torch.where(chance < self.share * (self.renderings > 1), other, 0)

    def _texts(self, rows: Tensor) -> Any:
        if self.texts.token.device != self.items.device:
            self.texts = type(self.texts)(*(x.to(self.items.device) for x in self.texts))
        return self.texts.take(rows.to(self.items.device))

    @full_precision
    def _choose(self, users: Tensor, item: Tensor, z: Tensor, links: Histories) -> Tensor:
        """-log of the share that a chosen text has among the texts ``z`` (B, D), over the links of ``item``.

        A user with n links here weighs as sqrt n: who chose much knows more, but does not drown the others.
        """
        chosen = links.take(item.to(links.item.device))
        user, row = chosen.item.to(z.device).unique(return_inverse=True)
        share = (self.log_scale.exp() * users[user] @ z.T).log_softmax(1)  # (users, B)
        weight = torch.bincount(row, minlength=len(user)).float().rsqrt()[row]
        return -(weight * share[row, chosen.rows.to(z.device)]).sum() / weight.sum().clamp(min=1)

    @torch.no_grad()
    def surprise(self, relation: Relation) -> float:
        """The same loss on held-out links: users with their whole training history choose among the items of ``relation``."""
        item = relation.index[1].unique()
        return self._choose(self.everyone, item, self.vectors(item), _by_item(relation, self.count)).item()

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The adapter learns at ``lr``, the projection, which begins at its optimum, at a third of it."""
        projection = {"params": list(self.encoder.projection.parameters()), "lr": lr / 3, "weight_decay": 0.0}
        scale = {"params": [self.log_scale], "lr": 3 * lr, "weight_decay": 0.0}
        return [{"params": self.encoder.adapter(), "lr": lr}, projection, scale]

    def catalogue(self) -> Tensor:
        """The vectors of all items by their texts alone: (I, D)."""
        return self.encoder.place(self.sentences(), self.frozen() if self.encoder.averaged else None)

    def vectors(self, items: Tensor) -> Tensor:
        """Those of ``items`` (n,) alone, (n, D), at the cost of encoding no others."""
        items = items.to(self.items.device)
        some = self._encoded(self.encoder.sentences, items)
        return self.encoder.place(some, self.frozen()[items] if self.encoder.averaged else None)

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D), folded in from histories."""
        return self._without(query.history, -1)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


def _by_item(relation: Relation, items: int) -> Histories:
    """The users of every item, each once."""
    user, item = relation.index.unique(dim=1)
    order = item.argsort(stable=True)
    offset = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(item, minlength=items).cumsum(0)])
    return Histories(offset, user[order])
