"""The Accelerator that training runs over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from hybridrec.training.record import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(
    trackers: Sequence[str] = (), log_dir: str | None = None, players: bool = False, timeout: float = 600.0
) -> Accelerator:
    """An Accelerator as ``fit`` wants it, from the launch configuration; several processes without a GPU speak gloo.

    Where the configuration asks for FSDP2 it is applied, on CPUs too. A process that is not heard of for ``timeout`` seconds is
    taken for lost, and the run ends.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.utils import FullyShardedDataParallelPlugin, parse_flag_from_env

    # Buffers (graphs, fixed features) are the same everywhere: sending them every step would cost more than the step.
    # A player's turn leaves the other players' parameters out, as pre-training and what follows do each other's.
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=players)
    group = InitProcessGroupKwargs(timeout=timedelta(seconds=timeout))
    # Methods read their weights while they are built: every process loads all of them.
    sharded = (
        FullyShardedDataParallelPlugin(cpu_ram_efficient_loading=False) if parse_flag_from_env("ACCELERATE_USE_FSDP") else None
    )
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        log_with=list(trackers) or None,
        project_dir=log_dir,
        fsdp_plugin=sharded,
        kwargs_handlers=[ddp, group],
    )
    if sharded is not None:
        _shard_on_cpus(accelerator, sharded)
    missing = (
        set(trackers) - {t.name for t in accelerator.trackers} - {str(getattr(t, "value", t)) for t in accelerator.log_with}
    )
    if missing:
        raise TrainingError(
            f"tracker {sorted(missing)} is not installed or not known to Accelerate; install it or leave it out"
        )
    return accelerator


def _shard_on_cpus(accelerator: Accelerator, plugin: object) -> None:
    """Give processes on CPUs the state that Accelerate gives those on GPUs.

    Up to 1.15 ``AcceleratorState`` looks at the plugin only where ``distributed_type`` names an accelerator, and CPU processes
    (``MULTI_CPU``) fall through to DDP without a word; ``prepare`` itself and torch's ``fully_shard`` work on CPUs.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    state = accelerator.state
    if state.distributed_type is DistributedType.MULTI_CPU:
        if accelerator.mixed_precision != "no":
            plugin.set_mixed_precision(accelerator.mixed_precision)  # type: ignore[attr-defined]
        state.fsdp_plugin = plugin
        state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
