"""Encoders of histories: transformers and recurrent networks over ragged rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from hybridrec.data.batches import Histories
from hybridrec.data.sequences import places
from hybridrec.dropout import Dropout
from hybridrec.errors import ArgumentError, DataError
from hybridrec.saving import configured

ROWS, SPREAD = 16, 1.25  # a block of fewer rows takes in longer ones, up to so many times its shortest


class Block(NamedTuple):
    """Rows of like length. Shapes: ``fill`` (rows * length,) entries of the block, ``real`` those that are not padding, as
    places in it, ``mask`` (rows, 1, 1, length); None where all rows are of one length.
    """

    rows: int
    length: int
    entries: int
    fill: Tensor | None = None
    real: Tensor | None = None
    mask: Tensor | None = None


class Layout:
    """The entries of a batch of histories with rows of like length side by side.

    Rows of one length are a dense (rows, length) block as they lie: no entry is copied, none is padding. Lengths that few
    rows have share a block, whose rows are padded at their end to at most 5/4 of its shortest.
    """

    def __init__(self, history: Histories) -> None:
        self.place = places(history)
        length, order = history.lengths.sort(stable=True)
        self.order = self.back = None
        if not bool((history.lengths[1:] >= history.lengths[:-1]).all()):
            self.order = Histories(history.offset, torch.arange(len(history.item), device=length.device)).take(order).item
            self.back = torch.empty_like(self.order)
            self.back[self.order] = torch.arange(len(self.order), device=length.device)
        self.blocks = [_block(length[a:b], low, high) for a, b, low, high in _cuts(length)]

    def split(self, x: Tensor) -> list[Tensor]:
        """Entries (n, D), at least one, as blocks (rows, length, D)."""
        if self.order is not None:
            x = x[self.order]
        parts = x.split([block.entries for block in self.blocks])
        filled = (p if b.fill is None else p[b.fill] for b, p in zip(self.blocks, parts, strict=True))
        return [x.view(block.rows, block.length, -1) for block, x in zip(self.blocks, filled, strict=True)]

    def join(self, parts: list[Tensor]) -> Tensor:
        """What ``split`` took apart: blocks (rows, length, D) as entries (n, D)."""
        flat = (x.reshape(-1, x.shape[-1]) for x in parts)
        x = torch.cat([x if b.real is None else x[b.real] for b, x in zip(self.blocks, flat, strict=True)])
        return x if self.back is None else x[self.back]


def _cuts(length: Tensor) -> list[tuple[int, int, int, int]]:
    """First row, row after the last, shortest and longest of each block; ``length`` (B,) ascending, empty rows in none."""
    values, counts = (x.tolist() for x in length.unique_consecutive(return_counts=True))
    cuts: list[tuple[int, int, int, int]] = []
    row = 0
    for value, count in zip(values, counts, strict=True):
        if value and cuts and cuts[-1][1] - cuts[-1][0] < ROWS and value <= SPREAD * cuts[-1][2]:
            cuts[-1] = (cuts[-1][0], row + count, cuts[-1][2], value)
        elif value:
            cuts.append((row, row + count, value, value))
        row += count
    return cuts


def _block(length: Tensor, low: int, high: int) -> Block:
    if low == high:
        return Block(len(length), high, len(length) * high)
    step = torch.arange(high, device=length.device)
    mask = step < length.unsqueeze(1)
    # Padding repeats the row's last entry: some number must stand there, and nothing reads it.
    fill = (length.cumsum(0) - length).unsqueeze(1) + torch.minimum(step, length.unsqueeze(1) - 1)
    real = mask.flatten().nonzero().flatten()
    return Block(len(length), high, len(real), fill.flatten(), real, mask[:, None, None])


def decayed(layout: Layout, x: Tensor, decay: Tensor) -> Tensor:
    """``m_t = sum_k decay^k x_(t-k)`` within each row: entries ``x`` (n, D) -> (n, D); ``decay`` a scalar in (0, 1)."""
    if not len(x):
        return x
    longest = max(block.length for block in layout.blocks)
    step = torch.arange(longest, device=x.device)
    back = (step.unsqueeze(1) - step).clamp(min=0).to(x.dtype)
    weight = (decay**back).tril()  # (T, T)
    return layout.join([weight[: b.length, : b.length] @ part for b, part in zip(layout.blocks, layout.split(x), strict=True)])


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each normalised first and added to what it read: (n, D) -> (n, D)."""

    def __init__(self, dim: int, heads: int, inner: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inward, self.outward = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """One layer over the entries ``x`` (n, D) of ``layout``."""
        parts = layout.split(self.inward(self.first(x)))
        attended = layout.join([self.attend(part, block) for part, block in zip(parts, layout.blocks, strict=True)])
        x = x + self.dropout(self.outward(attended))
        return x + self.dropout(self.narrow(self.dropout(F.gelu(self.widen(self.second(x))))))

    def attend(self, part: Tensor, block: Block) -> Tensor:
        """Attention within the rows of a block: (rows, length, 3 D) -> (rows, length, D)."""
        q, k, v = part.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (rows, heads, length, D / heads) each
        p = self.dropout.p if self.training else 0.0
        # Padding stands at the end of its row, where a causal reader never looks.
        mask = None if self.causal else block.mask
        return F.scaled_dot_product_attention(q, k, v, mask, p, is_causal=self.causal).transpose(1, 2).flatten(2)


@configured
class Transformer(nn.Module):
    """A transformer over histories: learned places, ``depth`` layers that normalise first, a last normalisation.

    Vaswani et al. 2017, arXiv 1706.03762, with the order of Xiong et al. 2020, arXiv 2002.04745. ``causal`` entries read
    what is not later than they are (SASRec), others the whole row (BERT4Rec). ``window`` is the most entries of a row.
    Places count from the start of the row, so that an entry of a causal encoder says the same whatever follows it.

    Shapes: ``history`` of n entries, ``x`` (n, D) -> (n, D). Raises DataError for a row longer than the window.
    """

    def __init__(
        self,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.2,
        inner: int = 4,
        causal: bool = True,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ArgumentError(f"dim must be a multiple of heads, not {dim} and {heads}")
        self.window, self.causal = window, causal
        self.place = nn.Parameter(torch.randn(window, dim) * 0.02)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, inner * dim, dropout, causal) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def face(self, causal: bool) -> None:
        """From now on entries read what is not later (``causal``), or the whole row: the weights know no direction."""
        self.causal = causal
        for layer in self.modules():
            if isinstance(layer, TransformerLayer):
                layer.causal = causal

    @contextmanager
    def both_ways(self) -> Iterator[None]:
        """For a while entries read the whole row."""
        before = self.causal
        self.face(causal=False)
        try:
            yield
        finally:
            self.face(before)

    def forward(self, history: Histories, x: Tensor) -> Tensor:
        """What is known at each entry: (n, D)."""
        fits(history, self.window)
        if not len(x):
            return x
        layout = Layout(history)
        x = self.dropout(x + self.place[layout.place])
        for layer in self.layers:
            x = layer(x, layout)
        return self.norm(x)


@configured
class GRU(nn.Module):
    """A gated recurrent network over histories, entry by entry: GRU4Rec's (Hidasi et al. 2016, arXiv 1511.06939).

    Causal, of any length. Shapes: ``history`` of n entries, ``x`` (n, D) -> (n, D).
    """

    causal = True

    def __init__(self, dim: int = 64, depth: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.network = nn.GRU(dim, dim, depth, dropout=dropout if depth > 1 else 0.0)
        self.dropout, self.outward = Dropout(dropout), nn.Linear(dim, dim)

    def forward(self, history: Histories, x: Tensor) -> Tensor:
        """What is known at each entry: (n, D)."""
        if not len(x):
            return self.outward(x)
        # Time runs first: all first entries, then all second ones, the longest rows leading.
        place, rank = places(history), history.lengths.sort(descending=True, stable=True).indices.argsort()
        order = (place * len(rank) + rank[history.rows]).argsort()
        packed = PackedSequence(self.dropout(x)[order], torch.bincount(place).cpu())
        return self.outward(self.network(packed)[0].data)[order.argsort()]


@configured
class Backbone(nn.Module):
    """Any model of ``transformers`` that reads embeddings, made anew from its configuration: decoder or encoder.

    ``config`` names it: ``{"model_type": "llama", "num_hidden_layers": 2, ...}``; its hidden size must be the width of what
    it is given. Whether it is causal is the model's own matter: say it in ``causal``, for methods that ask.

    Shapes: ``history`` of n entries, ``x`` (n, D) -> (n, D). Raises DataError for a row longer than ``window``.
    """

    def __init__(self, config: dict[str, Any], window: int = 50, causal: bool = True) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel

        given = {name: value for name, value in config.items() if name != "model_type"}
        self.window, self.causal = window, causal
        self.model = AutoModel.from_config(AutoConfig.for_model(config["model_type"], **given))
        # Its own table of tokens is never read: entries come as embeddings. Nor is a summary of the row.
        self.model.set_input_embeddings(nn.Identity())
        if hasattr(self.model, "pooler"):
            self.model.pooler = None

    def forward(self, history: Histories, x: Tensor) -> Tensor:
        """What is known at each entry: (n, D)."""
        fits(history, self.window)
        if not len(x):
            return x
        layout = Layout(history)
        parts = zip(layout.split(x), layout.blocks, strict=True)
        return layout.join([self.read(part, block) for part, block in parts])

    def read(self, part: Tensor, block: Block) -> Tensor:
        """The model over one block: (rows, length, D) -> (rows, length, D)."""
        mask = None if block.mask is None else block.mask[:, 0, 0].long()
        return self.model(inputs_embeds=part, attention_mask=mask).last_hidden_state


def fits(history: Histories, window: int) -> None:
    """Raise DataError where a row has more entries than ``window``."""
    longest = int(history.lengths.max()) if len(history.offset) > 1 else 0
    if longest > window:
        raise DataError(f"a history of {longest} entries, and the encoder has {window} places: cut it with sequences.last")
