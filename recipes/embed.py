"""Write a copy of a data set in which every item's text is embedded by a frozen encoder, for methods that read text features.

python recipes/embed.py amazon-beauty --out runs/data/amazon-beauty
python recipes/embed.py amazon-office --out runs/data/amazon-office --columns brand                          # brands as words
python recipes/embed.py citeulike-t --out runs/data/citeulike-t --encoder "" --template prompts/tags.j2        # words alone
python recipes/embed.py citeulike-t --out runs/data/citeulike-t --encoder "" --template prompts/tags.j2 --directions 192  # LSA
python recipes/compare.py --data runs/data/amazon-beauty --methods EASE CEASE --shuffled CEASE
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from arguments import parse, read_text, run
from tqdm.auto import tqdm

import hybridrec as hr
from hybridrec.baselines.cease import word_rows
from hybridrec.data.attributes import attributes_of
from hybridrec.data.dataset import Feature
from hybridrec.data.text import item_texts
from hybridrec.data.words import word_ids
from hybridrec.data.writing import save_folder
from hybridrec.encoders.base import DEFAULT
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.linear import right_vectors

TOGETHER = 1024  # texts between two steps of the progress bar


@dataclass
class Embed:
    """Which data, which encoder."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    out: str = field(
        default="", metadata={"help": "new folder for the copy, whose name becomes the data set's; runs/data/NAME if empty"}
    )
    encoder: str = field(
        default=DEFAULT, metadata={"help": "sentence-transformers model, by Hub id or path; empty: only words"}
    )
    template: str = field(default="prompts/item.j2", metadata={"help": "Jinja file that renders a row of the items' table"})
    directions: int = field(
        default=0, metadata={"help": "without an encoder: leading directions of the weighted words, for text that is no prose"}
    )
    tokens: int | None = field(default=None, metadata={"help": "longer texts are cut; the model's own limit if none"})
    modality: str = field(default="text", metadata={"help": "what the features are called"})
    words: str = field(default="words", metadata={"help": "what the numbers of the texts' words are called"})
    columns: list[str] = field(
        default_factory=list,
        metadata={"help": "columns of the items' table whose values, lists or text cut at commas, are words too"},
    )


def main() -> None:
    """Render, embed, write."""
    args = parse(Embed, __doc__, positional="data")
    if args.encoder and args.directions:
        raise DataError('--directions stand in the place of an encoder: pass --encoder ""')
    data = hr.load(args.data)
    texts = item_texts(data, read_text(args.template))
    known = torch.tensor([bool(text) for text in texts])
    numbers = word_ids(texts, labels=labels(data, args.columns))
    found = {args.words: Feature(numbers.float(), known | numbers.any(1))}
    if args.directions:
        found[args.modality] = Feature(leading(numbers, args.directions), known)
    if args.encoder:
        found[args.modality] = Feature(embedded(args, texts) * known.unsqueeze(1), known)
    own = {**data.features.get(data.target, {}), **found}
    with_columns = f" and {', '.join(args.columns)}" if args.columns else ""
    about = f"{data.name} with the words of item texts{with_columns} as `{args.words}`"
    how = f"embedded by {args.encoder}" if args.encoder else f"laid along {args.directions} directions of these"
    about += f", the texts {how} as `{args.modality}`." if args.modality in found else "."
    out = args.out or f"runs/data/{data.name}"
    save_folder(replace(data, features={**data.features, data.target: own}), out, about=about)
    size = f" of {found[args.modality].values.shape[1]} numbers" if args.modality in found else ""
    print(f"{out}: {int(known.sum()):,} of {len(texts):,} {data.target}s have a text{size}")


def labels(data: hr.Dataset, columns: list[str]) -> list[list[str]]:
    """By item, the values of ``columns``, each under its column's name."""
    told: list[list[str]] = [[] for _ in range(data.counts[data.target])]
    for column in columns:
        for own, cell in zip(told, attributes_of(data, column), strict=True):
            own += [f"{column}={name}" for name in cell]
    return told


def leading(numbers: torch.Tensor, directions: int) -> torch.Tensor:
    """Texts along the leading directions of their words, each weighted by its idf: (I, F).

    Latent semantic analysis: Deerwester et al. 1990, Indexing by latent semantic analysis, JASIS. Raises DataError for more
    directions than there are.
    """
    rows = word_rows(numbers)
    return torch.from_numpy(rows @ right_vectors(rows, directions).numpy())


def embedded(args: Embed, texts: list[str]) -> torch.Tensor:
    """A vector for every text (I, F)."""
    encoder = TextEncoder(args.encoder, dim=1, rank=0, tokens=args.tokens)
    encoder = encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = [texts[i : i + TOGETHER] for i in range(0, len(texts), TOGETHER)]
    return torch.cat([encoder.embed(part)[0] for part in tqdm(parts, unit=f"x {TOGETHER} texts")])


if __name__ == "__main__":
    run(main)
