"""Sums that half precision would spoil, in float32 whatever autocast says, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def full_precision(function: Callable[..., Tensor], *given: Any) -> Tensor:
    """``function(*given)`` outside autocast, its half-precision tensors as float32; the first of ``given`` is a tensor."""
    with torch.autocast(given[0].device.type, enabled=False):
        return function(*(x.float() if isinstance(x, Tensor) and x.dtype in HALF else x for x in given))
