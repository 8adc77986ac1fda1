"""What a training run leaves behind, and the errors that end one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from hybridrec.errors import HybridrecError


class TrainingError(HybridrecError, RuntimeError):
    """Training that cannot go on: names the term, the epoch and the step."""


class CheckpointError(HybridrecError, RuntimeError):
    """A checkpoint that cannot be written, or does not belong to this run: names the file or the setting."""


class CheckpointWarning(UserWarning):
    """A checkpoint that is not whole and was passed over: names the file."""


class Stopped(SystemExit):
    """SIGTERM or Ctrl-C, after a checkpoint was written; not caught, it ends the program with status 128 + signal."""


@dataclass
class Fit:
    """What a training run was: its settings, what it cost, and one record of losses and metrics an epoch."""

    seed: int
    epochs: int = 0  # epochs trained
    best_epoch: int | None = None  # the epoch whose weights the method has; None where nothing was validated
    seconds: float = 0.0
    peak_memory: int = 0  # bytes: of the GPU where there is one, else of the process
    processes: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON, without the history."""
        return {name: value for name, value in asdict(self).items() if name != "history"}
