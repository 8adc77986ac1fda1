"""What the hybrid knows of items and users it was not trained on: cold items, and unseen users who ask with a sentence.

    python recipes/inductive.py FOLDER

A fifth of the items is cold (the split of `recipes/align.py`, so that its rows compare), and `--unseen` users have no row in
training either. Judged: cold items, ranked among themselves for everyone with a history; and the last warm item of every unseen
user, ranked among all items by a prompt alone, which `--template` writes from the texts of their items before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from arguments import parse, run
from leads import table, write
from schedules import falling

import hybridrec as hr
from hybridrec.baselines.content import HistoryMean
from hybridrec.data.batches import Query, generator
from hybridrec.data.split import ColdItems
from hybridrec.data.text import user_texts
from hybridrec.encoders.base import DEFAULT
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.evaluation import Result
from hybridrec.views.absorb import Anywhere


@dataclass
class Inductive:
    """Arguments."""

    data: str = field(default="amazon-beauty", metadata={"help": "folder with features_text.npy and features_words.npy"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of split, weights and order"})
    unseen: int = field(default=1000, metadata={"help": "users without a row in training"})
    dim: int = field(default=192, metadata={"help": "width of the item vectors"})
    cold: float = field(default=0.5, metadata={"help": "chance that an item is known by its text alone in training"})
    epochs: int = field(default=3, metadata={"help": "passes over the users"})
    batch: int = field(default=80, metadata={"help": "users of a batch"})
    lr: float = field(default=3e-3, metadata={"help": "largest learning rate"})
    encoder: str = field(default=DEFAULT, metadata={"help": "the encoder that the features were made by"})
    tokens: int = field(default=128, metadata={"help": "longer prompts are cut"})
    template: str = field(default="prompts/user.j2", metadata={"help": "Jinja file that renders a user's items as a prompt"})
    report: str = field(default="", metadata={"help": "stem of two JSON files: STEM-cold.json and STEM-prompts.json"})


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


def main() -> None:
    """Train, ask, print both tables."""
    args = parse(Inductive, __doc__, positional="data")
    cold, prompts = zip(*(one(args, seed) for seed in args.seeds), strict=True)
    for name, runs, judged in (("cold", cold, "hybrid"), ("prompts", prompts, "hybrid")):
        print(f"\n{name}:\n{table(list(runs), judged)}")
        if args.report:
            write(Path(f"{args.report}-{name}.json"), list(runs), judged)


def one(args: Inductive, seed: int) -> tuple[dict[str, Result], dict[str, Result]]:
    """Both tables of one seed."""
    data = hr.load(args.data, split=ColdItems(seed=seed))
    user = data.train.index[0]
    enough = (torch.bincount(user, minlength=data.counts[data.source]) > 2).nonzero().flatten()
    chosen = enough[torch.randperm(len(enough), generator=generator("cpu", seed))[: args.unseen]]
    away = torch.isin(user, chosen)
    known = replace(data, relations={**data.relations, data.goal: data.train.keep(~away)})
    torch.manual_seed(seed)
    method = hr.Hybrid(known, dim=args.dim, cold=args.cold, view=Anywhere())
    hr.fit(
        method,
        known,
        epochs=args.epochs,
        batch_size=args.batch,
        lr=args.lr,
        schedule=falling,
        every=args.epochs,
        patience=None,
        validate=lambda _: 0.0,
        seed=seed,
    )
    text = data.features[data.target]["text"].values
    near, popular = HistoryMean(data, text), hr.Popularity(known)
    hr.fit(popular, known)
    rows = {"frozen text kNN": near, "hybrid": method}
    ranked = {name: hr.evaluate(x, data, "test", ks=(20,), candidates=data.cold("test")) for name, x in rows.items()}
    # What unseen users chose before their last item is the prompt, and that item what is wanted.
    last = torch.zeros_like(away)
    last[[int((user == u).nonzero()[-1]) for u in chosen]] = True
    train, test = data.train.keep(~last), data.train.keep(last)
    asked = replace(data, relations={**data.relations, data.goal: train}, heldout={"test": test})
    told = user_texts(asked, Path(args.template).read_text(encoding="utf-8"))
    meaning = torch.zeros(len(told), text.shape[1])
    said = [told[u] for u in chosen.tolist()]
    encoded = TextEncoder(args.encoder, dim=1, rank=0, tokens=args.tokens).embed(said)[0].cpu()
    if encoded.shape[1] != text.shape[1]:
        raise DataError(
            f"--encoder {args.encoder} gives {encoded.shape[1]} numbers a text, the features of {args.data} have "
            f"{text.shape[1]}; name the encoder they were made by"
        )
    meaning[chosen] = encoded
    vectors = torch.zeros(len(told), args.dim)
    vectors[chosen] = method.text_vectors(meaning[chosen], said)
    centre = text[known.train.index[1].unique()].mean(0)
    asks = {
        "popularity": popular,
        "frozen text": Asked(torch.nn.functional.normalize(meaning - centre, dim=1), near.items),
        "hybrid": Asked(vectors, method.catalogue().detach()),
        "hybrid, history instead": method,
    }
    return ranked, {name: hr.evaluate(x, asked, "test", ks=(20,)) for name, x in asks.items()}


if __name__ == "__main__":
    run(main)
