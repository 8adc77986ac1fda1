"""Item vectors tied to what is said of the items: an item without interactions has one too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.errors import DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class TiedItems(nn.Module):
    """``v_i = unit(c_i + A f_i)``: a free part and a linear map of frozen features of ``modality``.

    The features are centred over the items that have them, scaled to length 1 and laid along their ``text_dim`` leading
    directions (F); at the start the cosines of items are those of their features, as far as D directions hold them.
    Shapes: ``free`` c (I, D), ``text`` f (I, F), ``map`` A' (F, D). Raises DataError where the data have rows and no such
    modality.
    """

    text: Tensor
    centre: Tensor
    basis: Tensor

    def __init__(self, data: Dataset, dim: int, modality: str, text_dim: int) -> None:
        super().__init__()
        self.modality, self.text_dim = modality, text_dim
        self.free = nn.Parameter(torch.randn(data.sides["item"], dim) * 0.02)
        self.map = nn.Parameter(torch.eye(text_dim, dim))
        for name in ("text", "centre", "basis"):
            self.register_buffer(name, torch.empty(0))
        if len(data.train):
            self.read(data)

    def read(self, data: Dataset) -> None:
        """Keep centre and leading directions of the features, and every item's place along these."""
        known = data.features.get(data.target, {})
        if self.modality not in known:
            raise DataError(
                f"data set {data.name!r} has no {self.modality!r} features of {data.target}s (it has {sorted(known)}); give it "
                f"some: a folder with features_{self.modality}.npy, or texts embedded by recipes/embed.py"
            )
        values, mask = known[self.modality].values.float(), known[self.modality].known
        self.centre = values[mask].mean(0)
        unit = F.normalize(values - self.centre, dim=1) * mask.unsqueeze(1)
        leading = torch.linalg.eigh((unit.T @ unit).double()).eigenvectors.flip(1)[:, : self.text_dim].float()
        self.basis = F.pad(leading, (0, self.text_dim - leading.shape[1])).contiguous()
        self.text = unit @ self.basis

    def forward(self, cold: Tensor | None = None) -> Tensor:
        """Item vectors of length 1 (I, D); the free part left out where ``cold`` (I,)."""
        free = self.free if cold is None else self.free * ~cold.unsqueeze(1)
        return F.normalize(torch.addmm(free, self.text, self.map), dim=1)

    def of_text(self, values: Tensor) -> Tensor:
        """Vectors of length 1 (n, D) of items known by their features (n, F0) alone."""
        unit = F.normalize(values.to(self.centre) - self.centre, dim=1)
        return F.normalize(unit @ self.basis @ self.map, dim=1)
