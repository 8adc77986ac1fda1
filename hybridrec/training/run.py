"""One training run: its optimizers, where it stands, and its epochs, steps and turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.average import Average
from hybridrec.shares import sharing
from hybridrec.training.checks import identity
from hybridrec.training.failure import explained, keep_batch
from hybridrec.training.folder import Checkpoints
from hybridrec.training.keeper import Keeper, everywhere, largest
from hybridrec.training.record import Fit, TrainingError
from hybridrec.training.shards import Shards
from hybridrec.training.state import Changes, capture, random_state, restore, set_random_state

if TYPE_CHECKING:
    from accelerate import Accelerator

    from hybridrec.data.dataset import Dataset

MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
MakeSchedule = Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler]
Watch = Callable[[nn.Module, Any, Mapping[str, Tensor]], Mapping[str, float] | None]

LESS = "a smaller batch_size, or a smaller chunk or hold of the encoder where the method has one, needs less"
LESS_RANKED = "evaluate with a smaller chunk: validate=lambda m: hybridrec.evaluate(m, data, 'valid', chunk=64).metrics[...]"


@dataclass
class Progress:
    """Where a run stands: ``step`` is the next step of ``epoch``, and what has come together until there."""

    epoch: int = 0
    step: int = 0
    finished: bool = False
    best: float | None = None  # the best value of the validations so far, and how many have been waited for since
    waited: int = 0


class Run:
    """The method, its optimizers and what has been seen so far."""

    average: Average | None = None
    keeper: Keeper | None = None
    resumed: Path | None = None  # the checkpoint gone on from, until an epoch has shown that it was sound
    shards: Shards | None = None  # where the launch divides parameters over the processes

    def __init__(self, method: Any, data: Dataset, record: Fit, accelerator: Accelerator) -> None:
        from accelerate.utils import set_seed

        self.method, self.data, self.record, self.accelerator = method, data, record, accelerator
        record.processes = accelerator.num_processes
        set_seed(record.seed)
        self.started = time.perf_counter()
        self.at = Progress()
        self.weights: dict[str, Tensor] | None = None  # those of the best validation
        self.totals: dict[str, Tensor] = {}  # of every term, over the rows of this process in this epoch
        self.orders = (0, 0)  # what the processes agreed on last: the signal they were sent, whether a checkpoint is due
        self.drawn: dict[str, Any] = {}  # where the random generators stood before the step

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
        from accelerate.utils import DistributedType

        accelerator, method = self.accelerator, self.method
        method.to(accelerator.device)
        self.clip = clip
        self.sampler = method.sampler(self.data, batch_size=batch_size, seed=self.record.seed, device=accelerator.device)
        players = method.players() if hasattr(method, "players") else {"": [p for p in method.parameters() if p.requires_grad]}
        parameters = {name: list(of_player) for name, of_player in players.items()}

        def default(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
            make = torch.optim.AdamW if weight_decay else torch.optim.Adam
            return make(groups, lr=lr, weight_decay=weight_decay, fused=True)

        makers = optimizer if isinstance(optimizer, Mapping) else dict.fromkeys(players, optimizer or default)
        # A method may give its parts learning rates of their own: groups(lr) -> parameter groups.
        single = method.groups(lr) if hasattr(method, "groups") else None
        made = {name: makers[name](single or [{"params": p}]) for name, p in parameters.items()}
        self.schedules = [schedule(o, epochs * self.sampler.steps) for o in made.values()] if schedule else []
        if accelerator.distributed_type is DistributedType.FSDP:
            self.shards = Shards(method, accelerator)
            self.model, *prepared = self.shards.prepare(*made.values())
        else:
            self.model, *prepared = accelerator.prepare(method, *made.values())
        self.optimizers = dict(zip(made, prepared, strict=True))

    def resume(self, checkpoints: Checkpoints, watch: tuple[Watch, ...]) -> None:
        """Keep checkpoints from now on, and go on from the newest there is."""
        self.changes = Changes(self.method)
        self.watch = watch
        self.keeper = Keeper(checkpoints, self.accelerator, identity(self))
        self.resumed = self.keeper.resume(lambda shared, own: restore(self, shared, own))

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

        accelerator, method, record, at = self.accelerator, self.method, self.record, self.at
        if track:
            accelerator.init_trackers("hybridrec", config={k: v for k, v in record.settings.items() if v is not None})
        show, steps = progress and accelerator.is_main_process, self.sampler.steps
        noting: AbstractContextManager = self.keeper.interruption if self.keeper else nullcontext()
        bar = tqdm(
            total=epochs * steps, initial=at.epoch * steps + at.step, disable=not show, unit="batch", desc=type(method).__name__
        )
        with noting, bar:
            while not at.finished:
                with explained(f"epoch {at.epoch + 1}", LESS, self.resumed):
                    line = self.epoch(at.epoch, watch, bar)
                at.epoch, at.step = at.epoch + 1, 0
                record.epochs = at.epoch
                due = at.epoch % every == 0 or at.epoch == epochs
                if validate and due and not getattr(method, "pretraining", False):
                    with explained(f"the validation after epoch {at.epoch}", LESS_RANKED, self.resumed):
                        self.validate(validate, line)
                    self.resumed = None
                elif not validate:
                    self.resumed = None
                record.history.append(line)
                bar.set_postfix({k: f"{v:.4g}" for k, v in line.items() if k != "epoch"}, refresh=False)
                if track:
                    accelerator.log({k: v for k, v in line.items() if k != "epoch"}, step=at.epoch)
                at.finished = at.epoch == epochs or (patience is not None and at.waited >= patience)
                with explained(f"the end of epoch {at.epoch}", LESS):
                    self.rest(line.get("valid"))
        if track:
            accelerator.end_training()
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if self.weights is not None:
            method.load_state_dict(self.weights)
        elif self.average:
            self.average.swap()
        if self.shards:
            self.shards.gather()
        bad = [name for name, p in method.named_parameters() if p.requires_grad and not torch.isfinite(p).all()]
        if bad:
            raise TrainingError(f"{bad[0]} is not finite after the last step. Lower lr, or set clip")

    def whole(self, write: bool = False) -> AbstractContextManager:
        """While entered, by all processes, the method may be read outside of a step; see ``Shards.whole``."""
        return self.shards.whole(write) if self.shards else nullcontext()

    def validate(self, validate: Callable[[Any], float], line: dict[str, float]) -> None:
        """Judge the weights of now, or their average, and keep them where they are the best so far."""
        method, at = self.method, self.at
        method.eval()
        if self.average:
            self.average.swap()
        with self.whole():
            line["valid"] = value = float(validate(method))
        at.waited += 1
        if value > (-math.inf if at.best is None else at.best):
            at.best, at.waited, self.record.best_epoch = value, 0, at.epoch
            self.weights = {name: x.detach().clone() for name, x in method.state_dict().items()}
        if self.average:
            self.average.swap()

    def epoch(self, epoch: int, watch: tuple[Watch, ...], bar: Any) -> dict[str, float]:
        """What is left of one pass over the sampler; returns terms, meant over all rows of all processes, and measures."""
        accelerator, method, at = self.accelerator, self.method, self.at
        method.train()
        if not at.step:
            self.totals = {}
            if hasattr(method, "refresh"):
                with torch.no_grad(), self.whole(write=True):
                    method.refresh()
        batches: Iterator[Any] = self.sampler.epoch(epoch, accelerator.process_index, accelerator.num_processes, at.step)
        for step, batch in enumerate(batches, at.step):
            if step > at.step:
                at.step = step
                self.rest_between_steps()
            # Gradients are averaged over processes; weighted by the rows each has, the average is that of the whole batch.
            rows = len(batch[0])
            whole = self.sampler.size(step)
            share = rows * accelerator.num_processes / whole
            if self.keeper:
                self.drawn = random_state(accelerator.device)
            where = f"epoch {epoch + 1}, step {step + 1}"
            said: dict[str, Tensor] = {}
            for player, optimizer in self.optimizers.items():
                with explained(where, LESS, self.resumed), sharing(accelerator.process_index, accelerator.num_processes, whole):
                    terms = self.turn(player, optimizer, batch, share, where)
                said |= terms
                for name, value in terms.items():
                    self.totals[name] = self.totals.get(name, 0) + value.detach() * rows
            for schedule in self.schedules:
                schedule.step()
            if self.keeper:
                self.keeper.count()
            bar.update()
        measures: dict[str, float] = {}
        if watch:
            drawn = random_state(accelerator.device)
            with self.whole():
                for see in watch:
                    measures |= see(method, batch, said) or {}
            set_random_state(drawn, accelerator.device)  # looking changes nothing, and draws for the rows of one process alone
            measures = everywhere(measures)[0]
        rows = sum(self.sampler.size(step) for step in range(self.sampler.steps))
        names = sorted(self.totals)
        sums = accelerator.reduce(torch.stack([self.totals[name] for name in names]), "sum") / rows
        return {"epoch": epoch + 1, **measures, **dict(zip(names, sums.tolist(), strict=True))}

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
        bad, *orders = largest(int(not torch.isfinite(loss)), *(self.keeper.wishes() if self.keeper else (0, 0)))
        self.orders = (orders[0], orders[1])
        if bad:
            self.not_finite(loss, terms, batch, where)
        for other in self.optimizers.values():
            other.zero_grad()
        self.accelerator.backward(loss * share)
        if self.shards:
            self.shards.reduce()
        if self.clip is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if self.shards:
                self.shards.clip(parameters, self.clip)
            else:
                self.accelerator.clip_grad_norm_(parameters, self.clip)
        optimizer.step()
        if self.average:
            self.average.update()
        return terms

    def not_finite(self, loss: Tensor, terms: dict[str, Tensor], batch: Any, where: str) -> None:
        """End the run of all processes, naming the terms of those whose loss is not finite."""
        mine = ", ".join(f"{name} = {value.item():.4g}" for name, value in terms.items())
        found = [x for x in everywhere(None if torch.isfinite(loss) else mine) if x]
        kept = ""
        if self.keeper:
            folder = self.keeper.checkpoints.path
            rank = self.accelerator.process_index
            with self.whole():
                kept = f". The batch is in {keep_batch(folder, rank, where, batch, terms, self.changes, self.drawn)}"
        raise TrainingError(
            f"the loss is not finite at {where}: {'; '.join(found)}. Lower lr, set clip, or look for extreme values in the "
            f"data{kept}"
        )

    def rest_between_steps(self) -> None:
        """Write a checkpoint where one is due, and stop where a signal said so."""
        if self.keeper:
            signal, due = largest(*self.keeper.wishes()) if self.record.processes == 1 else self.orders
            if signal or due:
                path = self.keeper.write(self.at.epoch * self.sampler.steps + self.at.step, lambda: capture(self))
                if signal:
                    self.keeper.stop(signal, path)

    def rest(self, valid: float | None) -> None:
        """The same between epochs, after a validation of ``valid``; what is finished or among the best is always written."""
        if self.keeper:
            best = valid is not None and self.accelerator.is_main_process and self.keeper.checkpoints.among_best(valid)
            signal, due, among = largest(*self.keeper.wishes(), int(best))
            if signal or due or among or self.at.finished:
                path = self.keeper.write(self.at.epoch * self.sampler.steps, lambda: capture(self), valid)
                if signal:
                    self.keeper.stop(signal, path)
