"""Align a text encoder with how items are used, judge it on items nobody has touched, and save a Recommender.

accelerate launch --config_file accelerate_config.yaml recipes/align.py
accelerate launch --config_file accelerate_config.yaml recipes/align.py --data path/to/folder --seeds 0 1 2 --control

A share of the items is held out, all their rows with them, and ranked among themselves for every user who met one. Beside the
aligned encoder stand: chance, the popularity of what is written in one column, the frozen encoder, the frozen encoder with a
ridge projection into the collaborative space, and, with --control, the same training on shuffled texts.

The saved Recommender answers by a diffusion prior over users' vectors in that space, trained last: see `recipes/priors.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from arguments import parse, read_text, run
from leads import table, write
from priors import trained
from schedules import warm_cosine
from transformers.utils import logging

import hybridrec as hr
from hybridrec.baselines.content import Chance, GroupPopularity, HistoryMean, KernelRidge
from hybridrec.data.split import ColdItems
from hybridrec.data.text import render, rows_of
from hybridrec.encoders.base import DEFAULT
from hybridrec.encoders.text import TextEncoder
from hybridrec.methods.align import Align
from hybridrec.training import make_accelerator
from hybridrec.views.text import WordDrop

RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0)
KERNELS = [(gamma, ridge) for gamma in (0.25, 0.5, 1.0, 2.0) for ridge in (0.1, 0.3, 1.0, 3.0)]
ALIGNED, RIDGE, SHUFFLED = "aligned (LoRA)", "frozen + ridge", "aligned, texts shuffled"


@dataclass
class Arguments:
    """What to align, and how."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    out: str = field(default="runs/align", metadata={"help": "folder of the saved Recommender, that of the first seed"})
    report: str | None = field(default=None, metadata={"help": "JSON file for the table and its passports"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "of split, start and batches; a run for each"})
    cold: bool = field(default=True, metadata={"help": "hold items out; without, all items are ranked on the data's own split"})
    control: bool = field(default=True, metadata={"help": "train on shuffled texts as well, for comparison"})
    train: bool = field(default=True, metadata={"help": "without, only rows that need no training, and nothing is saved"})
    encoder: str = field(default=DEFAULT, metadata={"help": "a sentence-transformers model, by Hub id or path"})
    item_template: str = field(default="prompts/item.j2", metadata={"help": "Jinja file that renders a row of items"})
    query_template: str = field(default="prompts/query.j2", metadata={"help": "Jinja file that renders a prompt"})
    user_template: str = field(
        default="prompts/user.j2", metadata={"help": "Jinja file that renders a user's items as a prompt"}
    )
    column: str = field(default="genres", metadata={"help": "column of items whose words the popularity baseline reads"})
    tokens: int | None = field(default=None, metadata={"help": "longer texts are cut; the model's own limit if none"})
    dim: int = field(default=64, metadata={"help": "width of the collaborative space"})
    rank: int = field(default=16, metadata={"help": "rank of the LoRA adapter"})
    layers: int | None = field(default=None, metadata={"help": "adapt only the last so many blocks; all if none"})
    mix: float = field(default=0.5, metadata={"help": "share of the tuned encoder beside the frozen one it began as"})
    views: int = field(default=6, metadata={"help": "renderings of every item with words left out"})
    share: float = field(default=0.8, metadata={"help": "how often one of them stands for the text"})
    weight: float = field(default=0.1, metadata={"help": "of the contrast of items' texts and embeddings"})
    epochs: int = field(default=6, metadata={"help": "passes over the items"})
    batch_size: int = field(default=128, metadata={"help": "items of a step, all processes together"})
    lr: float = field(default=3e-3, metadata={"help": "learning rate of the adapter"})
    average: float = field(default=0.9, metadata={"help": "decay of the moving average of the weights"})
    checkpoint: str | None = field(
        default=None, metadata={"help": "folder: an interrupted run goes on from what it finds there"}
    )


def main() -> None:
    """Run every seed, print the table, save the first seed's Recommender."""
    args = parse(Arguments, __doc__, positional="data")
    logging.disable_progress_bar()
    accelerator = make_accelerator()
    runs = [one(args, seed, accelerator, save=seed == args.seeds[0]) for seed in args.seeds]
    if accelerator.is_main_process:
        print(table(runs, ALIGNED))
        if args.report:
            write(Path(args.report), runs, ALIGNED)
        if args.train:
            print(f'\nsaved: {args.out}    ask it: python recipes/query.py "..."')
    accelerator.end_training()


def one(args: Arguments, seed: int, accelerator: Accelerator, save: bool) -> dict[str, Any]:
    """Every row of the table for one seed, as results by name."""
    set_seed(seed)
    data = hr.load(args.data, split=ColdItems(seed=seed) if args.cold else None)
    rows, template = rows_of(data, data.target), read_text(args.item_template)
    texts = render(template, rows)
    views = [render(template, WordDrop(seed=seed * args.views + v)(rows)) for v in range(args.views)]
    space = hr.IALS(data, dim=args.dim, unseen=1.0, ridge=10.0, power=0.0)
    hr.fit(space, data, seed=seed)

    def judge(method: Any, part: str = "test") -> Any:
        return hr.evaluate(method, data, part=part, ks=(20,), candidates=data.cold(part) if args.cold else None)

    def aligned(order: torch.Tensor) -> tuple[Align, Any]:
        """A trained encoder of texts dealt to items in that order, and what the ridge projection it began with is worth."""
        set_seed(seed)
        encoder = TextEncoder(
            args.encoder, args.dim, args.rank, 2.0 * args.rank, layers=args.layers, tokens=args.tokens, mix=args.mix
        )
        dealt = [[found[i] for i in order.tolist()] for found in (texts, *views)]
        method = Align(data, encoder, dealt[0], space, weight=args.weight, views=dealt[1:], share=args.share, seed=seed)
        method.to(accelerator.device)
        begin(method, lambda m: judge(m, "valid").metrics["ndcg@20"])
        start = judge(method)
        hr.fit(
            method,
            data,
            epochs=args.epochs,
            batch_size=args.batch_size,
            lr=args.lr,
            weight_decay=0.01,
            clip=1.0,
            average=args.average,
            schedule=warm_cosine,
            every=1,
            patience=None,
            validate=lambda m: judge(Few(m, data.cold("valid")) if args.cold else m, "valid").metrics["ndcg@20"],
            seed=seed,
            accelerator=accelerator,
            checkpoint=args.checkpoint and Path(args.checkpoint, f"{seed}-{'texts' if order is straight else 'shuffled'}"),
        )
        return method, start

    straight = torch.arange(len(texts))
    results = {
        "random": judge(Chance(data, seed)),
        f"popularity of {args.column}": judge(GroupPopularity.by(data, args.column)),
    }
    if not args.cold:
        graph = hr.LightGCN(data, dim=args.dim, depth=2)
        hr.fit(graph, data, epochs=300, lr=2e-3, patience=6, seed=seed, accelerator=accelerator)
        results |= {"iALS": judge(space), "LightGCN": judge(graph)}
    plain = TextEncoder(args.encoder, args.dim, rank=0, tokens=args.tokens).to(accelerator.device).embed(texts)[0]
    results["frozen, mean of history"] = judge(HistoryMean(data, plain))
    results["frozen + kernel ridge"] = judge(bent(data, plain, space, lambda m: judge(m, "valid").metrics["ndcg@20"]))
    if not args.train:
        return results
    method, start = aligned(straight)
    results |= {RIDGE: start, ALIGNED: judge(method)}
    if args.control:
        shuffled = straight[torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))]
        results[SHUFFLED] = judge(aligned(shuffled)[0])
    if save:
        vectors = (method.sentences(), method.catalogue())
        prior = trained(data, space, method.encoder, vectors[1], read_text(args.user_template), seed, accelerator)
        templates = {"item": template, "query": read_text(args.query_template)}
        if accelerator.is_main_process:
            recommender = hr.Recommender(
                prior.cpu(), data, method.encoder.cpu(), templates=templates, text_vectors=vectors, metrics=results[ALIGNED]
            )
            recommender.save_pretrained(args.out)
    return results


class Few:
    """An encoder asked for some items alone: what is not ranked need not be encoded."""

    def __init__(self, method: Align, items: torch.Tensor) -> None:
        self.method, self.items = method, items
        self.represent, self.score = method.represent, method.score

    def catalogue(self) -> torch.Tensor:
        """Item vectors (I, D), zero where not asked for."""
        found = self.method.vectors(self.items)
        return found.new_zeros(self.method.count, found.shape[1]).index_copy_(0, self.items.to(found.device), found)


def begin(method: Align, value: Callable[[Align], float]) -> None:
    """Start at the ridge projection that does best on the valid items."""
    worth = {}
    for strength in RIDGES:
        method.start(strength)
        worth[strength] = value(method)
    method.start(max(worth, key=lambda strength: worth[strength]))


def bent(data: hr.Dataset, plain: torch.Tensor, space: Any, value: Callable[[Any], float]) -> KernelRidge:
    """The kernel ridge regression that does best on the valid items."""
    return max((KernelRidge(data, plain, space, *point) for point in KERNELS), key=value)


if __name__ == "__main__":
    run(main)
