"""Training: the one loop, what it leaves behind, and how it goes on after an interruption."""

from hybridrec.training.accelerator import make_accelerator
from hybridrec.training.failure import replay
from hybridrec.training.folder import Checkpoints
from hybridrec.training.loop import fit
from hybridrec.training.record import CheckpointError, CheckpointWarning, Fit, Stopped, TrainingError

__all__ = [
    "CheckpointError",
    "CheckpointWarning",
    "Checkpoints",
    "Fit",
    "Stopped",
    "TrainingError",
    "fit",
    "make_accelerator",
    "replay",
]
