"""A denoiser of short sequences of item vectors: a U-Net that takes them for the channels of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from hybridrec.errors import ArgumentError


class SequenceUNet(ModelMixin, ConfigMixin):
    """DiffuASR's sequential U-Net: every vector a square image, every item of the sequence a channel of it.

    Liu et al. 2023, DiffuASR, arXiv 2309.12858, section 3.3; over diffusers' ``UNet2DModel`` with the authors' widths. The
    guide is added to the embedding of the time; without one, ``blind`` (D,), which is learned, is read in its place.
    Images are halved as often as there are widths and a side of at least 2 is left.

    Shapes: ``length`` M vectors of ``dim`` D, a square number: noised (B, M, D), times (B,) or one, guides (B, D) -> the
    noise (B, M, D). Raises ArgumentError where D is no square number.
    """

    @register_to_config
    def __init__(self, length: int, dim: int, channels: Sequence[int] = (8, 16, 16, 16), dropout: float = 0.1) -> None:
        super().__init__()
        self.side = math.isqrt(dim)
        if self.side**2 != dim:
            raise ArgumentError(f"dim must be a square number, 16 or 64, not {dim}: a vector is read as a square image")
        levels = 1
        while levels < len(channels) and self.side % 2**levels == 0 and self.side > 2**levels:
            levels += 1
        self.unet = UNet2DModel(
            sample_size=self.side,
            in_channels=length,
            out_channels=length,
            block_out_channels=tuple(channels[:levels]),
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            layers_per_block=2,
            norm_num_groups=8,
            attention_head_dim=8,
            class_embed_type="identity",
            dropout=dropout,
        )
        width = 4 * channels[0]
        self.guide = nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width))
        self.blind = nn.Parameter(torch.randn(dim) * 0.02)

    def forward(self, sample: Tensor, timestep: Tensor | int, guide: Tensor) -> Tensor:
        """The noise (B, M, D) in vectors ``sample`` (B, M, D)."""
        image = sample.unflatten(2, (self.side, self.side))
        return self.unet(image, timestep, class_labels=self.guide(guide)).sample.flatten(2)
