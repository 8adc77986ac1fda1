"""Texts as sets of words and pairs of words, each a number that needs no vocabulary."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

BUCKETS = (1 << 24) - 1  # whole numbers that float32 holds
SLOTS = 128


def word_ids(texts: Sequence[str], slots: int = SLOTS, labels: Sequence[Sequence[str]] | None = None) -> Tensor:
    """The distinct words of each text, then its pairs of neighbouring words, as numbers padded with 0: (n, <= slots) int64.

    A word is a run of letters and digits in lower case; its number, 1 .. 2^24 - 1, is a hash (Weinberger et al. 2009,
    Feature hashing, arXiv 0902.2206), the same on every machine. ``labels``, some for each text, are read whole and go first.
    What does not fit into ``slots`` is left out.
    """
    numbers: dict[str, int] = {}
    rows: list[list[int]] = []
    for text, own in zip(texts, labels or [()] * len(texts), strict=True):
        words = re.findall(r"[^\W_]+", text.lower())
        told = list(dict.fromkeys([*own, *words, *map(" ".join, pairwise(words))]))[:slots]
        rows.append([numbers.setdefault(w, zlib.crc32(w.encode()) % BUCKETS + 1) for w in told])
    found = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.int64)
    for row, told_ids in enumerate(rows):
        found[row, : len(told_ids)] = torch.tensor(told_ids, dtype=torch.int64)
    return found
