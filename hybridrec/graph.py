"""A graph as a module of buffers: normalised sparse adjacency, its product, and its thinning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Product(torch.autograd.Function):
    """``A x`` for symmetric A in CSR: the gradient is ``A g``, so that no transpose is ever built.

    Summing a bag of rows for each node is ``torch.sparse``'s CSR product by another name, at half its time on a CPU.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, crow: Tensor, col: Tensor, value: Tensor, x: Tensor) -> Tensor:
        ctx.csr = crow, col, value
        return _multiply(crow, col, value, x)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, Tensor]:
        crow, col, value = ctx.csr
        return None, None, None, _multiply(crow, col, value, grad.contiguous())


def _multiply(crow: Tensor, col: Tensor, value: Tensor, x: Tensor) -> Tensor:
    return F.embedding_bag(col, x, crow, mode="sum", per_sample_weights=value, include_last_offset=True)


class Graph(nn.Module):
    """An undirected graph with symmetric normalisation, entities stacked in one range of nodes.

    ``A_uv = value_uv / sqrt(degree_u degree_v)`` (Kipf & Welling 2017, arXiv 1609.02907; LightGCN, He et al. 2020,
    arXiv 2002.02126, eq. 3). Stored as CSR; each undirected edge has two entries that share one ``edge`` number.

    Shapes: ``crow`` (N + 1,), ``col`` (2E,), ``edge`` (2E,) and ``value`` (2E,).
    """

    crow: Tensor
    col: Tensor
    edge: Tensor
    value: Tensor

    def __init__(self, crow: Tensor, col: Tensor, edge: Tensor, value: Tensor, start: Mapping[str, int]) -> None:
        super().__init__()
        self.start = dict(start)  # the first node of each entity
        for name, x in (("crow", crow), ("col", col), ("edge", edge), ("value", value)):
            self.register_buffer(name, x)

    @classmethod
    def of(cls, relations: Sequence[Any], counts: Mapping[str, int]) -> Graph:
        """The graph of some relations; a link given twice counts once, a link to oneself not at all."""
        start, nodes = {}, 0
        for entity, n in counts.items():
            start[entity], nodes = nodes, nodes + n
        keys = []
        for r in relations:
            a, b = r.index[0] + start[r.source], r.index[1] + start[r.target]
            keys.append((torch.minimum(a, b) * nodes + torch.maximum(a, b))[a != b])
        key = torch.unique(torch.cat(keys)) if keys else torch.empty(0, dtype=torch.int64)
        low, high = key // max(nodes, 1), key % max(nodes, 1)
        row, col = torch.cat([low, high]), torch.cat([high, low])
        order = (row * nodes + col).argsort()
        crow = torch.zeros(nodes + 1, dtype=torch.int64)
        crow[1:] = torch.bincount(row, minlength=nodes).cumsum(0)
        edge = torch.arange(len(low)).repeat(2)[order]
        # 32-bit indices halve the traffic of the product, which is bound by memory.
        small = torch.int32 if max(nodes, 2 * len(low)) < 2**31 else torch.int64
        graph = cls(crow.to(small), col[order].to(small), edge.to(small), torch.ones(2 * len(low)), start)
        return graph.normalise()

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.crow) - 1

    @property
    def edges(self) -> int:
        """E, each undirected edge once."""
        return len(self.col) // 2

    @property
    def row(self) -> Tensor:
        """The row of every entry: (2E,)."""
        counts = self.crow[1:] - self.crow[:-1]
        return torch.repeat_interleave(torch.arange(self.nodes, device=counts.device), counts, output_size=len(self.col))

    @property
    def degree(self) -> Tensor:
        """Edges at every node: (N,)."""
        return self.crow[1:] - self.crow[:-1]

    def _with(self, crow: Tensor, col: Tensor, edge: Tensor, value: Tensor) -> Graph:
        return Graph(crow, col, edge, value, self.start)

    def normalise(self) -> Graph:
        """The same edges, each worth ``1 / sqrt(degree degree)``."""
        scale = self.degree.clamp(min=1).rsqrt()
        return self._with(self.crow, self.col, self.edge, scale[self.row] * scale[self.col])

    def keep(self, edges: Tensor) -> Graph:
        """The graph of only the edges where ``edges`` (E,) is True, normalised anew."""
        kept = edges[self.edge]
        ends = torch.cat([self.crow.new_zeros(1), kept.cumsum(0, dtype=self.crow.dtype)])
        return self._with(ends[self.crow], self.col[kept], self.edge[kept], self.value[kept]).normalise()

    def propagate(self, x: Tensor) -> Tensor:
        """``A x`` for node embeddings ``x`` (N, D): (N, D)."""
        return _Product.apply(self.crow, self.col, self.value, x.float())
