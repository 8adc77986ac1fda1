"""What an artifact asks of its text side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor


class TextSide(Protocol):
    """Texts as vectors in the collaborative space.

    A saved artifact names its class, which must be a @configured one of hybridrec, and calls its ``load(folder)``.
    """

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, D) of ``texts``."""

    def save(self, folder: str | Path) -> None:
        """Write adapter, projection and what base model they need into ``folder``."""
