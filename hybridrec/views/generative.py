"""A model-based view that is generated: a graph drawn from a variational autoencoder of itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridrec.graph import Graph


class LinkDecoder(nn.Module):
    """Rewrites a graph: latents of its nodes say which of its edges are believed.

    The variational graph autoencoder (Kipf & Welling 2016, arXiv 1611.07308) of AdaGCL, Jiang et al. 2023, arXiv 2305.10837,
    eqs. 4 to 6: a link of i and j has the logit ``mlp(z_i * z_j)``. Shapes: node embeddings (N, D) -> mean and log-variance
    (N, D) each; pairs (n, D) -> logits (n,).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean, self.log_variance = (nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)) for _ in range(2))
        self.judge = nn.Sequential(nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def logits(self, one: Tensor, two: Tensor) -> Tensor:
        """How much links between latents (n, D) and (n, D) are believed: (n,)."""
        return self.judge(one * two).squeeze(1)

    @torch.no_grad()
    def forward(self, graph: Graph, z: Tensor) -> Graph:
        """``graph`` with the edges that latents ``z`` (N, D) make likelier than not, normalised anew."""
        low, high = graph.ends
        return graph.keep(self.logits(z[low], z[high]) > 0)
