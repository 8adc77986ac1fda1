"""Views of texts: what a text says with some of it missing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any


class WordDrop:
    """Rows of a table in which the cells of ``columns`` lose some of their words, each with probability ``words``, or all
    of them, with probability ``whole``.

    Names tell items apart without telling what they are like: a text encoder that may lean on them learns them by heart.
    Rows are rendered after, so that the text stays well formed. What is dropped depends on ``seed`` alone.
    """

    def __init__(
        self, columns: Sequence[str] = ("title", "name"), whole: float = 0.3, words: float = 0.4, seed: int = 0
    ) -> None:
        self.columns, self.whole, self.words, self.seed = tuple(columns), whole, words, seed

    def __call__(self, x: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows, corrupted; cells that hold no string stay as they are."""
        chance = random.Random(self.seed)
        return [{k: self._drop(v, chance) if k in self.columns and isinstance(v, str) else v for k, v in r.items()} for r in x]

    def _drop(self, text: str, chance: random.Random) -> str:
        if chance.random() < self.whole:
            return ""
        return " ".join(word for word in text.split() if chance.random() >= self.words)
