"""A graph as a module of buffers: normalised sparse adjacency, its product, and its thinning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.precision import full_precision


class _Product(torch.autograd.Function):
    """``A x`` for symmetric A in CSR: the gradient is ``A g``, so that no transpose is ever built.

    Summing a bag of rows for each node is ``torch.sparse``'s CSR product by another name, at half its time on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, crow: Tensor, col: Tensor, value: Tensor, x: Tensor) -> Tensor:
        ctx.csr = crow, col, value
        return _multiply(crow, col, value, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, Tensor]:
        crow, col, value = ctx.csr
        return None, None, None, _multiply(crow, col, value, grad.contiguous())


class _Weighted(torch.autograd.Function):
    """``sum_j w_ij x_j`` for weights that are learned: gradients to the weights as well as to x."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, weight: Tensor, x: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(weight, x)
        return _multiply(graph.crow, graph.col, weight, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        graph, (weight, x), grad = ctx.graph, ctx.saved_tensors, grad.contiguous()
        for_weight = _dot(graph, grad, x) if ctx.needs_input_grad[1] else None
        for_x = _multiply(graph.crow, graph.col, weight[graph.reverse], grad) if ctx.needs_input_grad[2] else None
        return None, for_weight, for_x


class _Dot(torch.autograd.Function):
    """``<x_i, y_j>`` of every entry (i, j); its gradients are weighted sums over the same entries."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, x: Tensor, y: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(x, y)
        return _dot(graph, x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        graph, (x, y), grad = ctx.graph, ctx.saved_tensors, grad.contiguous()
        for_x = _multiply(graph.crow, graph.col, grad, y) if ctx.needs_input_grad[1] else None
        for_y = _multiply(graph.crow, graph.col, grad[graph.reverse], x) if ctx.needs_input_grad[2] else None
        return None, for_x, for_y


def _dot(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support is in beta|invariant checks are implicitly disabled)")
        where = torch.sparse_csr_tensor(
            graph.crow, graph.col, x.new_zeros(len(graph.col)), (graph.nodes, graph.nodes), check_invariants=False
        )
    # Only the products asked for are taken, row by row: no (2E, D) of gathered rows.
    return torch.sparse.sampled_addmm(where, x, y.T, beta=0.0).values()


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
        self._reverse: tuple[Tensor, int, Tensor] | None = None
        for name, x in (("crow", crow), ("col", col), ("edge", edge), ("value", value)):
            self.register_buffer(name, x)

    def verify(self) -> None:
        """Raise ValueError where the buffers are no graph, as a file may hold them: torch reads past the end of such ones."""
        crow, col, edge, n = self.crow, self.col, self.edge, len(self.col)
        integer = not any(x.is_floating_point() or x.is_complex() or x.dtype == torch.bool for x in (crow, col, edge))
        if not (integer and crow.dim() == 1 and len(crow) and col.shape == edge.shape == self.value.shape == (n,)):
            raise ValueError("a graph wants rows, columns, edges and values in one dimension each")
        if int(crow[0]) or int(crow[-1]) != n or bool((crow[1:] < crow[:-1]).any()):
            raise ValueError(f"a graph's {n} entries are not cut into {self.nodes} rows")
        if n and not 0 <= int(col.min()) <= int(col.max()) < self.nodes:
            raise ValueError(f"a graph's column is not among its {self.nodes} nodes")
        if n % 2 or not torch.equal(edge.long().sort().values, torch.arange(n, device=edge.device) // 2):
            raise ValueError("every edge of a graph wants two entries")
        if not bool(torch.isfinite(self.value).all()):
            raise ValueError("a graph's value is not finite")

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
        return cls._keyed(torch.cat(keys) if keys else torch.empty(0, dtype=torch.int64), start, nodes)

    @classmethod
    def between(cls, links: Tensor, start: Mapping[str, int], nodes: int) -> Graph:
        """The graph of ``links`` (2, n) between nodes of any kind; given twice they count once, to oneself not at all."""
        a, b = links
        return cls._keyed((torch.minimum(a, b) * nodes + torch.maximum(a, b))[a != b], start, nodes)

    @classmethod
    def _keyed(cls, key: Tensor, start: Mapping[str, int], nodes: int) -> Graph:
        key = torch.unique(key)
        low, high = key // max(nodes, 1), key % max(nodes, 1)
        row, col = torch.cat([low, high]), torch.cat([high, low])
        order = (row * nodes + col).argsort()
        crow = torch.zeros(nodes + 1, dtype=torch.int64, device=key.device)
        crow[1:] = torch.bincount(row, minlength=nodes).cumsum(0)
        edge = torch.arange(len(low), device=key.device).repeat(2)[order]
        # 32-bit indices halve the traffic of the product, which is bound by memory.
        small = torch.int32 if max(nodes, 2 * len(low)) < 2**31 else torch.int64
        value = torch.ones(2 * len(low), device=key.device)
        graph = cls(crow.to(small), col[order].to(small), edge.to(small), value, start)
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

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The lower and the higher node of every edge, in the order of edge numbers: (E,) and (E,), int64."""
        row = self.row
        up = row < self.col
        return row[up], self.col[up].long()

    @property
    def reverse(self) -> Tensor:
        """Where entry (j, i) stands for every entry (i, j): (2E,). Kept while the graph stays the same."""
        if self._reverse is None or self._reverse[0] is not self.edge or self._reverse[1] != self.edge._version:
            pairs = self.edge.argsort().view(-1, 2)
            reverse = torch.empty_like(pairs.view(-1))
            reverse[pairs] = pairs.flip(1)
            self._reverse = self.edge, self.edge._version, reverse
        return self._reverse[2]

    def _with(self, crow: Tensor, col: Tensor, edge: Tensor, value: Tensor) -> Graph:
        return Graph(crow, col, edge, value, self.start)

    def normalise(self) -> Graph:
        """The same edges, each worth ``1 / sqrt(degree degree)``."""
        scale = self.degree.clamp(min=1).rsqrt()
        return self._with(self.crow, self.col, self.edge, scale[self.row] * scale[self.col])

    def keep(self, edges: Tensor) -> Graph:
        """The graph of only the edges where ``edges`` (E,) is True, normalised anew."""
        kept, number = edges[self.edge], edges.cumsum(0, dtype=self.edge.dtype) - 1
        ends = torch.cat([self.crow.new_zeros(1), kept.cumsum(0, dtype=self.crow.dtype)])
        return self._with(ends[self.crow], self.col[kept], number[self.edge[kept]], self.value[kept]).normalise()

    @full_precision
    def propagate(self, x: Tensor) -> Tensor:
        """``A x`` for node embeddings ``x`` (N, D): (N, D)."""
        return _Product.apply(self.crow, self.col, self.value, x.float())

    @full_precision
    def aggregate(self, x: Tensor, weight: Tensor) -> Tensor:
        """``sum_j weight_ij x_j`` with a ``weight`` (2E,) of one's own for every entry, gradients to both: (N, D) -> (N, D)."""
        return _Weighted.apply(self, weight, x.contiguous())

    @full_precision
    def dot(self, x: Tensor, y: Tensor) -> Tensor:
        """``<x_i, y_j>`` of every entry (i, j), for node embeddings (N, D) each: (2E,), with gradients to both."""
        return _Dot.apply(self, x.contiguous(), y.contiguous())

    def softmax(self, logits: Tensor) -> Tensor:
        """``logits`` (2E,) as weights that sum to 1 over the entries of each row: (2E,)."""
        row = self.row
        top = logits.new_full((self.nodes,), -torch.inf).scatter_reduce(0, row, logits.detach(), "amax")
        weight = (logits - top[row]).exp()
        return weight / logits.new_zeros(self.nodes).index_add(0, row, weight)[row]
