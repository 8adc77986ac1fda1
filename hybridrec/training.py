"""The one training loop, over Accelerate: any method, one optimizer or several players, one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.average import Average
from hybridrec.errors import HybridrecError
from hybridrec.evaluation.passport import peak_memory

if TYPE_CHECKING:
    from accelerate import Accelerator

    from hybridrec.data.dataset import Dataset

MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
MakeSchedule = Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler]
Watch = Callable[[nn.Module, Any, Mapping[str, Tensor]], None]


class TrainingError(HybridrecError, RuntimeError):
    """Training that cannot go on: names the term, the epoch and the step."""


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
        every: validate after every so many epochs.
        metric: what is validated, by full ranking of the valid rows: ``"ndcg@20"``, ``"recall@10"``, ...
        patience: stop after this many validations without improvement; None never stops early.
        validate: a function of the method, larger is better, used in place of ``metric``.
        seed: seeds batches, negatives and the method's own randomness. Seed before building the method for its weights.
        accelerator: an ``accelerate.Accelerator``; made here from the launch configuration if None.
        trackers: names of trackers known to Accelerate: ``tensorboard``, ``trackio``, ``wandb``, ...
        log_dir: where trackers write.
        watch: called with method, batch and terms after the last batch of every epoch (see ``diagnostics``).
        progress: show a progress bar, on the main process only.

    Raises:
        TrainingError: a term of the loss is not finite, or a player has no term.
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
        run = _Run(method, data, record, accelerator or make_accelerator(trackers, log_dir, hasattr(method, "players")))
        run.prepare(epochs, batch_size, lr, weight_decay, clip, optimizer, schedule)
        run.average = Average(method, average) if average is not None else None
        run.train(epochs, every, patience, validate or _validation(data, metric), tuple(watch), bool(trackers), progress)
    method.eval()
    record.seconds, record.peak_memory = time.perf_counter() - started, peak_memory()
    method.fitted = record
    return record


def make_accelerator(trackers: Sequence[str] = (), log_dir: str | None = None, players: bool = False) -> Accelerator:
    """An Accelerator as ``fit`` wants it, from the launch configuration; several processes without a GPU speak gloo."""
    from accelerate import Accelerator, DistributedDataParallelKwargs

    # Buffers (graphs, fixed features) are the same everywhere: sending them every step would cost more than the step.
    # A player's turn leaves the other players' parameters out.
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=players)
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(), log_with=list(trackers) or None, project_dir=log_dir, kwargs_handlers=[ddp]
    )
    missing = (
        set(trackers) - {t.name for t in accelerator.trackers} - {str(getattr(t, "value", t)) for t in accelerator.log_with}
    )
    if missing:
        raise TrainingError(
            f"tracker {sorted(missing)} is not installed or not known to Accelerate; install it or leave it out"
        )
    return accelerator


def _validation(data: Dataset, metric: str) -> Callable[[Any], float] | None:
    """Full ranking of the valid rows, where there are any."""
    if not len(data.heldout.get("valid", ())):
        return None
    from hybridrec.evaluation.ranking import evaluate

    cutoff = int(metric.rpartition("@")[2])
    return lambda method: evaluate(method, data, part="valid", ks=(cutoff,)).metrics[metric]


class _Run:
    """One training run: the method, its optimizers and what has been seen so far."""

    average: Average | None = None

    def __init__(self, method: Any, data: Dataset, record: Fit, accelerator: Accelerator) -> None:
        from accelerate.utils import set_seed

        self.method, self.data, self.record, self.accelerator = method, data, record, accelerator
        record.processes = accelerator.num_processes
        set_seed(record.seed)

    def prepare(
        self,
        epochs: int,
        batch_size: int,
        lr: float,
        weight_decay: float,
        clip: float | None,
        optimizer: MakeOptimizer | Mapping[str, MakeOptimizer] | None,
        schedule: MakeSchedule | None,
    ) -> None:
        """Make sampler, optimizers and schedules, and hand model and optimizers to Accelerate."""
        accelerator, method = self.accelerator, self.method
        method.to(accelerator.device)
        self.clip = clip
        self.sampler = method.sampler(self.data, batch_size=batch_size, seed=self.record.seed, device=accelerator.device)
        players = method.players() if hasattr(method, "players") else {"": [p for p in method.parameters() if p.requires_grad]}
        self.parameters = {name: list(parameters) for name, parameters in players.items()}

        def default(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
            make = torch.optim.AdamW if weight_decay else torch.optim.Adam
            return make(groups, lr=lr, weight_decay=weight_decay, fused=True)

        makers = optimizer if isinstance(optimizer, Mapping) else dict.fromkeys(players, optimizer or default)
        # A method may give its parts learning rates of their own: groups(lr) -> parameter groups.
        single = method.groups(lr) if hasattr(method, "groups") else None
        made = {name: makers[name](single or [{"params": p}]) for name, p in self.parameters.items()}
        self.schedules = [schedule(o, epochs * self.sampler.steps) for o in made.values()] if schedule else []
        self.model, *prepared = accelerator.prepare(method, *made.values())
        self.optimizers = dict(zip(made, prepared, strict=True))

    def train(
        self,
        epochs: int,
        every: int,
        patience: int | None,
        validate: Callable[[Any], float] | None,
        watch: tuple[Watch, ...],
        track: bool,
        progress: bool,
    ) -> None:
        """Epochs with validation and early stopping; the best weights are put back at the end."""
        from tqdm.auto import tqdm

        accelerator, method, record = self.accelerator, self.method, self.record
        if track:
            accelerator.init_trackers("hybridrec", config={k: v for k, v in record.settings.items() if v is not None})
        best, weights, waited = -math.inf, None, 0
        show = progress and accelerator.is_main_process
        with tqdm(total=epochs * self.sampler.steps, disable=not show, unit="batch", desc=type(method).__name__) as bar:
            for epoch in range(epochs):
                line = self.epoch(epoch, watch, bar)
                record.epochs = epoch + 1
                if validate and ((epoch + 1) % every == 0 or epoch + 1 == epochs):
                    method.eval()
                    if self.average:
                        self.average.swap()
                    line["valid"] = value = validate(method)
                    waited += 1
                    if value > best:
                        best, waited, record.best_epoch = value, 0, epoch + 1
                        weights = {name: x.detach().clone() for name, x in method.state_dict().items()}
                    if self.average:
                        self.average.swap()
                record.history.append(line)
                bar.set_postfix({k: f"{v:.4g}" for k, v in line.items() if k != "epoch"}, refresh=False)
                if track:
                    accelerator.log({k: v for k, v in line.items() if k != "epoch"}, step=epoch + 1)
                if patience is not None and waited >= patience:
                    break
        if track:
            accelerator.end_training()
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if weights is not None:
            method.load_state_dict(weights)
        elif self.average:
            self.average.swap()

    def epoch(self, epoch: int, watch: tuple[Watch, ...], bar: Any) -> dict[str, float]:
        """One pass over the sampler; returns the mean of every term over all rows of all processes."""
        accelerator, method = self.accelerator, self.method
        method.train()
        if hasattr(method, "refresh"):
            with torch.no_grad():
                method.refresh()
        totals: dict[str, Tensor] = {}
        batches = self.sampler.epoch(epoch, accelerator.process_index, accelerator.num_processes)
        for step, batch in enumerate(batches):
            # Gradients are averaged over processes; weighted by the rows each has, the average is that of the whole batch.
            rows = len(batch[0])
            share = rows * accelerator.num_processes / self.sampler.size(step)
            for player, optimizer in self.optimizers.items():
                terms = self.turn(player, optimizer, batch, share, f"epoch {epoch + 1}, step {step + 1}")
                for name, value in terms.items():
                    totals[name] = totals.get(name, 0) + value.detach() * rows
            for schedule in self.schedules:
                schedule.step()
            bar.update()
        for see in watch:
            see(method, batch, terms)
        rows = sum(self.sampler.size(step) for step in range(self.sampler.steps))
        names = sorted(totals)
        sums = accelerator.reduce(torch.stack([totals[name] for name in names]), "sum") / rows
        return {"epoch": epoch + 1, **dict(zip(names, sums.tolist(), strict=True))}

    def turn(self, player: str, optimizer: Any, batch: Any, share: float, where: str) -> dict[str, Tensor]:
        """One step of one player on its own terms."""
        terms = self.model(batch)
        if player:
            terms = {name: value for name, value in terms.items() if name.startswith(f"{player}/")}
        if not terms:
            raise TrainingError(
                f"{type(self.method).__name__}.forward gave no term for player {player!r}; name it '{player}/<term>'"
            )
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            found = ", ".join(f"{name} = {value.item():.4g}" for name, value in terms.items())
            raise TrainingError(
                f"the loss is not finite at {where}: {found}. Lower lr, set clip, or look for extreme values in the data"
            )
        for other in self.optimizers.values():
            other.zero_grad()
        self.accelerator.backward(loss * share)
        if self.clip is not None:
            self.accelerator.clip_grad_norm_(self.parameters[player], self.clip)
        optimizer.step()
        if self.average:
            self.average.update()
        return terms
