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

    A process that is not heard of for ``timeout`` seconds is taken for lost, and the run ends.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    # Buffers (graphs, fixed features) are the same everywhere: sending them every step would cost more than the step.
    # A player's turn leaves the other players' parameters out, as pre-training and what follows do each other's.
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=players)
    group = InitProcessGroupKwargs(timeout=timedelta(seconds=timeout))
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        log_with=list(trackers) or None,
        project_dir=log_dir,
        kwargs_handlers=[ddp, group],
    )
    missing = (
        set(trackers) - {t.name for t in accelerator.trackers} - {str(getattr(t, "value", t)) for t in accelerator.log_with}
    )
    if missing:
        raise TrainingError(
            f"tracker {sorted(missing)} is not installed or not known to Accelerate; install it or leave it out"
        )
    return accelerator
