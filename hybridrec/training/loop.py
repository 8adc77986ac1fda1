"""The one training loop, over Accelerate: any method, one optimizer or several players, one process or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hybridrec.average import Average
from hybridrec.evaluation.passport import peak_memory
from hybridrec.training.accelerator import make_accelerator
from hybridrec.training.folder import Checkpoints
from hybridrec.training.record import Fit
from hybridrec.training.run import MakeOptimizer, MakeSchedule, Run, Watch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from hybridrec.data.dataset import Dataset


def fit(
    method: Any,
    data: Dataset,
    *,
    epochs: int = 100,
    batch_size: int = 2048,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    clip: float | None = None,
    average: float | None = None,
    optimizer: MakeOptimizer | Mapping[str, MakeOptimizer] | None = None,
    schedule: MakeSchedule | None = None,
    every: int = 5,
    metric: str = "ndcg@20",
    patience: int | None = 5,
    validate: Callable[[Any], float] | None = None,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    trackers: Sequence[str] = (),
    log_dir: str | None = None,
    watch: Iterable[Watch] = (),
    progress: bool = True,
    checkpoint: Checkpoints | str | Path | None = None,
) -> Fit:
    """Train ``method`` on the training rows of ``data`` and leave it with its best weights, in eval mode.

    A closed form (a method with ``solve``) is solved instead, and nothing is trained. The record is returned and kept
    as ``method.fitted``.

    Args:
        method: see ``hybridrec.protocols.Method``.
        data: its ``train`` rows are learned from; its ``valid`` rows, if any, decide when to stop.
        epochs: at most this many passes over the sampler.
        batch_size: rows of a batch, all processes together.
        lr: learning rate of the default optimizer (Adam; AdamW where ``weight_decay`` > 0).
        weight_decay: decoupled weight decay.
        clip: largest norm of the gradient of each player, or None.
        average: validate and keep the moving average of the weights, of which each step replaces a share ``1 - average``
            (more in the first steps); None keeps the weights themselves.
        optimizer: makes an optimizer of parameter groups; or one such maker for each player.
        schedule: makes a learning-rate schedule of an optimizer and the number of steps; stepped after every batch.
        every: validate after every so many epochs, none of a pre-training (see ``Method``).
        metric: what is validated, by full ranking of the valid rows: ``"ndcg@20"``, ``"recall@10"``, ...
        patience: stop after this many validations without improvement; None never stops early.
        validate: a function of the method, larger is better, used in place of ``metric``.
        seed: seeds batches, negatives and the method's own randomness. Seed before building the method for its weights.
        accelerator: an ``accelerate.Accelerator``; made here from the launch configuration if None.
        trackers: names of trackers known to Accelerate: ``tensorboard``, ``trackio``, ``wandb``, ...
        log_dir: where trackers write.
        watch: called with method, batch and terms of all players after the last batch of every epoch; what one returns is
            logged with the epoch (see ``diagnostics``).
        progress: show a progress bar, on the main process only.
        checkpoint: a folder, or ``Checkpoints`` that say how often and how many: the run goes on from the newest in it, to the
            same weights and history as if it had never been interrupted. SIGTERM and Ctrl-C write one and end the program.

    Raises:
        TrainingError: a term of the loss is not finite, a player has no term, memory is exhausted, or a process was lost.
        CheckpointError: a checkpoint cannot be written, or is of another run.
    """
    started = time.perf_counter()
    settings = {
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "clip": clip,
        "average": average,
        "every": every,
        "metric": metric,
    }
    record = Fit(seed, settings={**settings, "max_epochs": epochs, "patience": patience})
    if hasattr(method, "solve"):
        record.settings = {}
        torch.manual_seed(seed)
        with torch.no_grad():
            method.solve(data)
    else:
        partly = hasattr(method, "players") or hasattr(method, "pretraining")
        run = Run(method, data, record, accelerator or make_accelerator(trackers, log_dir, partly))
        run.prepare(epochs, batch_size, lr, weight_decay, clip, optimizer, schedule)
        run.average = Average(method, average) if average is not None else None
        watch = tuple(watch)
        if checkpoint is not None:
            run.resume(checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint), watch)
        run.train(epochs, every, patience, validate or _validation(data, metric), watch, bool(trackers), progress)
    method.eval()
    record.seconds, record.peak_memory = record.seconds + time.perf_counter() - started, peak_memory()
    method.fitted = record
    return record


def _validation(data: Dataset, metric: str) -> Callable[[Any], float] | None:
    """Full ranking of the valid rows, where there are any."""
    if not len(data.heldout.get("valid", ())):
        return None
    from hybridrec.evaluation.metrics import cutoff
    from hybridrec.evaluation.ranking import evaluate

    k = cutoff(metric)
    return lambda method: evaluate(method, data, part="valid", ks=(k,)).metrics[metric]
