"""Reuse of what was computed from parameters, for as long as they stay the same."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import increment_version
from torch.optim.optimizer import register_optimizer_step_post_hook


def _count_fused_steps(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """Fused optimizers change parameters without PyTorch's count of changes: count for them, or a Memo would not see it."""
    for group in optimizer.param_groups:
        if group.get("fused"):
            increment_version([p for p in group["params"] if p.grad is not None])


register_optimizer_step_post_hook(_count_fused_steps)


class Memo:
    """The last result of a computation over parameters, reused while none of them has changed.

    PyTorch counts the in-place changes of a tensor (``_version``): optimizers, ``load_state_dict`` and ``copy_`` raise it.
    A tensor put in the place of another may come to lie where that one was, so the tensors are remembered themselves, weakly.
    """

    def __init__(self) -> None:
        self._seen: list[weakref.ref[torch.Tensor]] = []
        self._key: tuple[Any, ...] | None = None
        self._result: Any = None

    def __call__(self, module: nn.Module, compute: Callable[[], Any]) -> Any:
        """``compute()`` under ``no_grad``, or its last result if every tensor of ``module`` is as it was then."""
        tensors = [*module.parameters(), *module.buffers()]
        key = tuple((x.data_ptr(), x._version) for x in tensors)
        if key != self._key or not all(ref() is x for ref, x in zip(self._seen, tensors, strict=True)):
            with torch.no_grad():
                self._result = compute()
            self._key, self._seen = key, [weakref.ref(x) for x in tensors]
        return self._result

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: a copy remembers nothing, as its tensors are others."""
        return {"_seen": [], "_key": None, "_result": None}
