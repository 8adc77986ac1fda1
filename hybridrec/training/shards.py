"""Parameters divided over the processes (FSDP2), and whole again where a method is read outside of a training step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from hybridrec.training.record import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator

NO_WRAP = "pass --fsdp_version 2 --fsdp_auto_wrap_policy NO_WRAP"


class Wrapped(nn.Module):
    """What FSDP wraps in place of a method, so that the method keeps its class and its names."""

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Any) -> Any:
        """The terms of ``method``, of which all parameters are whole by now."""
        # They were gathered into tensors of before, which PyTorch does not count as a change: a Memo would not see it.
        increment_version([p for p in self.method.parameters() if p.requires_grad])
        return self.method(batch)


class Shards:
    """The parameters of a method of which each process holds a part of the rows, with their gradients and optimizer state.

    Every trained parameter that has rows is divided, embedding tables before all; one number alone and what is not trained
    (frozen encoders, slow twins) are whole in every process. Within a step all are gathered, in one piece.
    Raises TrainingError where the launch asks for what a method would not survive.
    """

    def __init__(self, method: nn.Module, accelerator: Accelerator) -> None:
        plugin = accelerator.state.fsdp_plugin
        if plugin.fsdp_version != 2:
            raise TrainingError(f"FSDP 1 is not supported; {NO_WRAP}")
        if plugin.activation_checkpointing or type(plugin.cpu_offload).__name__ == "CPUOffloadPolicy":
            raise TrainingError(f"FSDP with activation checkpointing or parameters offloaded is not supported; {NO_WRAP}")
        self.method, self.accelerator = method, accelerator
        self.single = [p for p in method.parameters() if p.requires_grad and not p.ndim]
        frozen = [p for p in method.parameters() if not p.requires_grad]
        plugin.ignored_modules = [nn.ParameterList([*self.single, *frozen])]
        plugin.cpu_ram_efficient_loading = False
        self.hooks = {hook for module in method.modules() for hooks in _state_hooks(module) for hook in hooks}
        for x in [*method.parameters(), *method.buffers()]:  # as DDP does: process 0 says what they are at the start
            dist.broadcast(x.detach(), 0)

    def prepare(self, *optimizers: torch.optim.Optimizer) -> tuple[Any, ...]:
        """The module to call with a batch, and the optimizers, which now hold the divided parameters."""
        from torch.distributed.fsdp import FSDPModule

        self.model, *prepared = self.accelerator.prepare(Wrapped(self.method), *optimizers)
        inner = [name for name, module in self.method.named_modules() if isinstance(module, FSDPModule)]
        if inner:
            raise TrainingError(
                f"FSDP wraps {inner[0]} apart, but methods read weights from outside of their modules; {NO_WRAP}"
            )
        return self.model, *prepared

    def reduce(self) -> None:
        """Average over processes the gradients that FSDP does not."""
        for p in self.single:
            if p.grad is not None:
                dist.all_reduce(p.grad)
                p.grad /= self.accelerator.num_processes

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> None:
        """Scale the gradients of ``parameters`` so that their norm, over all processes, is at most ``most``."""
        self.accelerator.unscale_gradients()
        grads = [p.grad for p in parameters if p.grad is not None]
        of_rows = [x.to_local() for x in grads if is_divided(x)]  # type: ignore[attr-defined]
        single = [x for x in grads if not is_divided(x)]
        square = _square(of_rows, self.accelerator.device)
        dist.all_reduce(square)
        norm = (square + _square(single, self.accelerator.device)).sqrt()
        torch._foreach_mul_([*of_rows, *single], (most / (norm + 1e-6)).clamp(max=1.0))

    @contextmanager
    def whole(self, write: bool = False) -> Iterator[None]:
        """While entered, by all processes together, the method has its parameters whole, outside of any training step.

        Changes to them are lost at the end, unless ``write`` has each process take its part of them.
        """
        self.model.reshard()  # after a forward pass without a backward one they would still be gathered
        kept = self._gather()
        try:
            yield
        finally:
            for module, name, p in kept:
                if write:
                    _take(p, getattr(module, name))
                setattr(module, name, p)

    def gather(self) -> None:
        """Make them whole for good: nothing of FSDP is left in the method."""
        self.model.reshard()
        self._gather()
        for module in self.method.modules():
            for hooks in _state_hooks(module):
                for hook in [hook for hook in hooks if hook not in self.hooks]:
                    del hooks[hook]
            for mark in ("_is_fsdp_managed_module", "_fsdp_use_orig_params"):
                module.__dict__.pop(mark, None)

    @torch.no_grad()
    def _gather(self) -> list[tuple[nn.Module, str, nn.Parameter]]:
        """Put a whole parameter in the place of every divided one; returns what was where."""
        kept: list[tuple[nn.Module, str, nn.Parameter]] = []
        gathered: dict[int, nn.Parameter] = {}
        for module in self.method.modules():
            for name, p in list(module.named_parameters(recurse=False, remove_duplicate=False)):
                if is_divided(p):
                    if id(p) not in gathered:
                        gathered[id(p)] = nn.Parameter(p.full_tensor(), p.requires_grad)  # type: ignore[attr-defined]
                    kept.append((module, name, p))
                    setattr(module, name, gathered[id(p)])
        return kept


def is_divided(x: Tensor) -> bool:
    """Whether each process holds a part of ``x`` alone."""
    return hasattr(x, "to_local")


@torch.no_grad()
def _take(p: Any, whole: Tensor) -> None:
    """Write this process's rows of ``whole`` into the divided ``p``."""
    from torch.distributed.tensor import distribute_tensor

    p.to_local().copy_(distribute_tensor(whole.detach(), p.device_mesh, p.placements, src_data_rank=None).to_local())


def _square(xs: list[Tensor], device: torch.device) -> Tensor:
    return torch.stack([torch.zeros((), device=device), *(x.square().sum() for x in xs)]).sum()


def _state_hooks(module: nn.Module) -> tuple[dict[int, Any], dict[int, Any]]:
    return module._state_dict_pre_hooks, module._load_state_dict_pre_hooks
