"""What an artifact asks of its text side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor


class TextVectors(NamedTuple):
    """Texts as vectors: ``meaning`` (n, S), as a sentence model gives them; ``place`` (n, D), in the collaborative space."""

    meaning: Tensor
    place: Tensor


def placed(method: Any, texts: Sequence[str], meaning: Tensor, place: Tensor) -> TextVectors:
    """Both vectors on the CPU. A method with ``text_vectors(meaning, texts)`` says itself where texts stand among its items."""
    if hasattr(method, "text_vectors"):
        place = method.text_vectors(meaning, texts)
    return TextVectors(meaning.detach().float().cpu(), place.detach().float().cpu())


class TextSide(Protocol):
    """Texts as vectors, of what they say and of where that stands in the collaborative space.

    A saved artifact names its class, which must be a @configured one of hybridrec, and calls its ``load(folder)``.
    """

    def embed(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Both vectors of each text: (n, S) and (n, D)."""

    def save(self, folder: str | Path) -> None:
        """Write adapter, projection and what base model they need into ``folder``."""
