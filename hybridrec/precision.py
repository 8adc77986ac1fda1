"""Sums that half precision would spoil, in float32 whatever autocast says, on any device."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` outside autocast, the half-precision tensors that it is given as float32. One at least is a tensor."""

    @wraps(function)
    def exact(*given: P.args, **named: P.kwargs) -> R:
        device = next(x.device.type for x in (*given, *named.values()) if isinstance(x, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(_exact, given), **{name: _exact(x) for name, x in named.items()})

    return exact


def _exact(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype in HALF else x
