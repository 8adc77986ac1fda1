"""Users without a row in training who ask with a sentence, written by a template from what they chose."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

import hybridrec as hr
from hybridrec.baselines.content import HistoryMean
from hybridrec.data.batches import Query, generator
from hybridrec.data.text import user_texts
from hybridrec.encoders.text import TextEncoder
from hybridrec.evaluation import Result


class Asked:
    """Users known by what they say: a vector each, beside the items' vectors."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor) -> None:
        self.users, self.items = users, items

    def represent(self, query: Query) -> torch.Tensor:
        """User vectors (B, D)."""
        return self.users[query.user]

    def catalogue(self) -> torch.Tensor:
        """Item vectors (I, D)."""
        return self.items

    def score(self, query: Query) -> torch.Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.items.T


def some_users(data: hr.Dataset, count: int, seed: int) -> torch.Tensor:
    """At most ``count`` users (n,) with more than two training rows, drawn by ``seed``."""
    enough = (torch.bincount(data.train.index[0], minlength=data.counts[data.source]) > 2).nonzero().flatten()
    return enough[torch.randperm(len(enough), generator=generator("cpu", seed))[:count]]


def prompted(
    data: hr.Dataset,
    known: hr.Dataset,
    unseen: torch.Tensor,
    method: hr.Hybrid,
    near: HistoryMean,
    encoder: TextEncoder,
    template: str,
) -> dict[str, Result]:
    """The last training item of ``unseen`` users (n,), ranked among all items by a prompt of what they chose before it.

    ``known`` is ``data`` without their rows, which ``method`` was trained on; ``near`` holds the items' frozen vectors, and
    ``encoder`` is the one that they were made by.
    """
    user, text = data.train.index[0], data.features[data.target]["text"].values
    last = torch.zeros(len(user), dtype=torch.bool)
    time = torch.zeros(len(user), dtype=torch.float64) if data.train.time is None else data.train.time
    own = [(user == u).nonzero().flatten() for u in unseen]
    last[[int(rows[time[rows].argsort(stable=True)[-1]]) for rows in own]] = True  # ties in file order
    asked = replace(data.with_train(data.train.keep(~last)), heldout={"test": data.train.keep(last)})
    told = user_texts(asked, template)
    said = [told[u] for u in unseen.tolist()]
    encoded = encoder.embed(said)[0].cpu()
    centre = text[known.train.index[1].unique()].mean(0)
    popular = hr.Popularity(known)
    hr.fit(popular, known)
    catalogue = method.catalogue().detach()
    meaning = encoded.new_zeros(len(told), text.shape[1]).index_copy_(0, unseen, encoded)
    vectors = catalogue.new_zeros(len(told), catalogue.shape[1])
    vectors[unseen] = method.text_vectors(encoded, said)
    asks = {
        "popularity": popular,
        "frozen text": Asked(F.normalize(meaning - centre, dim=1), near.items),
        "hybrid": Asked(vectors, catalogue),
        "hybrid, history instead": method,
    }
    return {name: hr.evaluate(x, asked, "test", ks=(20,)) for name, x in asks.items()}
