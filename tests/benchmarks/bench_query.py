"""Latency of a saved artifact: milliseconds to encode a prompt, to search the catalogue, and in all (p50, p95).

The first artifact has the size of MovieLens-100K, the second 100,000 items. Item vectors are drawn in clusters: encoding
100,000 texts would take an hour and change no time measured here. Prompts are read by all-MiniLM-L6-v2 with a LoRA adapter.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the weights are those of the package that the extra `demo` installs

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

import hybridrec as hr
from hybridrec.data.batches import Histories
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.encoders.base import DEFAULT
from hybridrec.encoders.text import TextEncoder
from hybridrec.pipeline import Faiss, Search
from hybridrec.pipeline.text import TextVectors

WORDS = "slow burning crime drama from the seventies quiet space robots heist that goes wrong for children war love"
TEMPLATES = {"item": "{{ title }}", "query": "{{ prompt }}"}


def synthetic(users: int, items: int, links: int, random: np.random.Generator) -> Dataset:
    """Users, titled items and links between them, drawn uniformly."""
    index = torch.from_numpy(np.stack([random.integers(users, size=links), random.integers(items, size=links)]))
    titles = [" ".join(random.choice(WORDS.split(), 4)) for _ in range(items)]
    tables = {"item": pa.table({"item_id": np.arange(items), "title": titles})}
    ids = {"user": Ids(np.arange(users)), "item": Ids(np.arange(items))}
    return Dataset(ids, {"interact": Relation("user", "item", index)}, "interact", tables=tables, name="synthetic")


def clustered(items: int, dim: int) -> Tensor:
    """Item vectors around 500 centres: (I, D)."""
    centres = torch.randn(500, dim)
    return centres[torch.randint(500, (items,))] + 0.5 * torch.randn(items, dim)


def milliseconds(call: Callable[[str], object], prompts: list[str]) -> str:
    """Median and 95th percentile of the time that ``call`` takes for each of ``prompts``."""
    took = []
    for prompt in prompts:
        started = time.perf_counter()
        call(prompt)
        took.append(1000 * (time.perf_counter() - started))
    return f"{np.percentile(took, 50):12.2f}{np.percentile(took, 95):8.2f}"


def measure(name: str, recommender: hr.Recommender, prompts: list[str], k: int) -> None:
    """Print one line of the table."""
    text, engine, nothing = recommender.text, recommender.engine, Histories.lists([[]])
    assert text is not None
    recommender.recommend(prompt=prompts[0], k=k)  # loads the encoder, builds the index
    vectors = {prompt: TextVectors(*text.embed([prompt])) for prompt in prompts}

    @torch.no_grad()
    def search(prompt: str) -> None:
        engine.find([engine.wish(torch.tensor([0]), vectors[prompt], 1.0)], nothing, k)

    calls = (lambda prompt: text.embed([prompt]), search, lambda prompt: recommender.recommend(prompt=prompt, k=k))
    print(f"{name:24}" + "".join(milliseconds(call, prompts) for call in calls), flush=True)


def main() -> None:
    """Build both artifacts, save them, load them and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="items of the second artifact (default: 100000)")
    parser.add_argument("--prompts", type=int, default=100, help="prompts asked (default: 100)")
    parser.add_argument("--k", type=int, default=10, help="items named (default: 10)")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("hybridrec").setLevel(logging.INFO)
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    prompts = [" ".join(random.choice(WORDS.split(), 8)) for _ in range(asked.prompts)]
    encoder = TextEncoder(DEFAULT, dim=64)
    torch.nn.init.normal_(encoder.projection.weight, std=0.05)
    print(f"{torch.get_num_threads()} threads, k = {asked.k}, {asked.prompts} prompts; milliseconds")
    print(f"{'':24}" + "".join(f"{step + ' p50':>12}{'p95':>8}" for step in ("encode", "search", "total")))
    with tempfile.TemporaryDirectory() as folder:
        for users, items, links in ((943, 1682, 80_000), (10_000, asked.items, 10 * asked.items)):
            data, path = synthetic(users, items, links, random), Path(folder) / str(items)
            vectors = clustered(items, encoder.width), clustered(items, 64)
            method = hr.LightGCN(data, dim=64, depth=0)
            hr.Recommender(method, data, encoder, templates=TEMPLATES, text_vectors=vectors).save_pretrained(path)
            searches: list[tuple[str, Search | None]] = [("exact", None)]
            if items >= 100_000:
                searches.append(("faiss", Faiss()))
            for name, search in searches:
                started = time.perf_counter()
                loaded = hr.Recommender.from_pretrained(path, search=search)
                print(f"{items:,} items opened in {1000 * (time.perf_counter() - started):.0f} ms")
                measure(f"{items:,} items, {name}", loaded, prompts, asked.k)


if __name__ == "__main__":
    main()
