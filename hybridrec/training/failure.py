"""What goes wrong while training, said so that one knows what to do; and the batch it went wrong with, kept for replay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hybridrec.errors import HybridrecError
from hybridrec.training.folder import read_part, write_part
from hybridrec.training.record import CheckpointError, TrainingError
from hybridrec.training.state import Changes, set_random_state

FOLDER = "not-finite"
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
LOST = ("gloo", "nccl", "connection closed", "connection reset", "timed out", "broken pipe", "socket")


@contextmanager
def explained(where: str, remedy: str, resumed: Path | None = None) -> Iterator[None]:
    """Say in one TrainingError what an exhausted memory or a lost process means, and the ``remedy`` for the memory.

    Any other failure of a run that has just gone on from the checkpoint ``resumed`` becomes a CheckpointError that names it.
    """
    try:
        yield
    except HybridrecError:
        raise
    except Exception as e:
        text = str(e).lower()
        of_system = isinstance(e, RuntimeError | MemoryError)
        if of_system and (isinstance(e, MemoryError | torch.OutOfMemoryError) or any(sign in text for sign in NO_MEMORY)):
            raise TrainingError(f"out of memory at {where}: {remedy} ({_first_line(e)})") from e
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if of_system and distributed and (isinstance(e, torch.distributed.DistError) or any(sign in text for sign in LOST)):
            raise TrainingError(
                f"at {where} another process of this run was lost or did not answer in time; start the run again, with its "
                f"checkpoints it goes on from the last one ({_first_line(e)})"
            ) from e
        if resumed is not None:
            raise CheckpointError(
                f"at {where}, gone on from {resumed}: {type(e).__name__}: {_first_line(e)}; delete that checkpoint to go on "
                "from the one before, and if the same happens again it was not to blame"
            ) from e
        raise


def _first_line(e: BaseException) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0][:200]


def keep_batch(
    folder: Path, rank: int, where: str, batch: Any, terms: Mapping[str, Tensor], changes: Changes, drawn: Any
) -> Path:
    """Write ``batch``, the state of the method that met it and the random numbers ``drawn`` before, for ``replay``."""
    target = folder / FOLDER
    if rank == 0:
        shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    method = {"parameters": changes.parameters(), "others": changes.others()}
    tree = {"where": where, "batch": batch, "terms": dict(terms), "method": method, "random": drawn}
    write_part(target, f"process-{rank}", tree)
    return target


def replay(method: nn.Module, folder: str | Path, process: int = 0) -> tuple[Any, dict[str, Tensor]]:
    """The batch that a run with checkpoints in ``folder`` stopped at, and the terms it gives now: the same, to the bit.

    ``method`` is built as it was for the run; it is given the weights of that moment, and left with them, in training mode.
    Raises ArtifactError where no batch was kept, CheckpointError where the method is another.
    """
    kept = read_part(Path(folder) / FOLDER, f"process-{process}")
    changes = Changes(method)
    changes.restore(kept["method"]["parameters"], kept["method"]["others"])
    device = next(method.parameters()).device
    set_random_state(kept["random"], device)
    method.train()
    batch = kept["batch"]
    if device.type != "cpu":
        batch = batch.to(device) if hasattr(batch, "to") else type(batch)(*(x.to(device) for x in batch))
    return batch, method(batch)
