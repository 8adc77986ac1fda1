"""Stand-ins for the tests of the pipeline: titled data, and a text side that needs no model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from hybridrec.pipeline.folder import INDEX, _seal, _sha256
from hybridrec.saving import configured

TEMPLATES = {"item": "{{ title }}", "query": "{{ prompt }}"}
KINDS = ("quiet drama", "space robots")
NEW = [{"item_id": 900, "title": "space robots return"}, {"item_id": 901, "title": "quiet drama again"}]


def titled(data):
    """The planted data with a table: items of the same kind have words in common."""
    n = data.counts["item"]
    titles = [f"{KINDS[i % 2]} {['one', 'two', 'three'][i % 3]} no{i}" for i in range(n)]
    return replace(data, tables={"item": pa.table({"item_id": data.ids["item"].values, "title": titles, "year": range(n)})})


def same(one, other):
    """The same answer, up to rounding of its scores."""
    assert [x[:2] for x in one] == [x[:2] for x in other]
    assert [x.score for x in one] == pytest.approx([x.score for x in other], abs=1e-5)


@configured
class Words:
    """Each word has a fixed random vector; a text is their sum."""

    def __init__(self, dim: int = 8) -> None:
        self.dim = dim
        self.last: list[str] = []

    def embed(self, texts):
        """What a text says, in 12 dimensions, and where it stands."""
        self.last = list(texts)
        total = torch.stack([sum((self.word(w) for w in text.lower().split()), torch.zeros(12 + self.dim)) for text in texts])
        return total[:, :12], total[:, 12:]

    def word(self, word: str):
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest(), "little")
        return torch.randn(12 + self.dim, generator=torch.Generator().manual_seed(seed))

    def save(self, folder):
        Path(folder).mkdir()
        (Path(folder) / "words.json").write_text(json.dumps(self.arguments))

    @classmethod
    def load(cls, folder):
        return cls(**json.loads((Path(folder) / "words.json").read_text()))


def sealed(folder: Path) -> None:
    """Give a tampered artifact the checksums that its tamperer would."""
    index = json.loads((folder / INDEX).read_text())
    index["files"] = {
        p.relative_to(folder).as_posix(): {"size": p.stat().st_size, "sha256": _sha256(p)}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in (INDEX, "README.md")
    }
    index["sha256"] = _seal(index)
    (folder / INDEX).write_text(json.dumps(index))
