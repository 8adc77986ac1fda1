"""What a checkpoint must be before a run goes on from it: of the same run, and of numbers that it could have come to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hybridrec.saving import describe
from hybridrec.training.record import CheckpointError

if TYPE_CHECKING:
    from hybridrec.training.run import Run


def identity(run: Run) -> dict[str, Any]:
    """What a run is, as JSON: a checkpoint goes on only with a run of which all of this is the same."""
    return {
        "method": describe(run.method) if hasattr(run.method, "arguments") else type(run.method).__qualname__,
        "data": run.data.fingerprint,
        "seed": run.record.seed,
        "processes": run.record.processes,
        "precision": run.accelerator.mixed_precision,
        **({"sharded": True} if run.shards else {}),
        "settings": run.record.settings,
        "schedules": [type(schedule).__name__ for schedule in run.schedules],
        "optimizers": {name: _plain(optimizer) for name, optimizer in run.optimizers.items()},
    }


def _plain(optimizer: Any) -> dict[str, Any]:
    """What an optimizer is: its class, and the plain settings of each group."""
    inner = getattr(optimizer, "optimizer", optimizer)
    groups = [{k: v for k, v in g.items() if isinstance(v, bool | int | float | str)} for g in inner.param_groups]
    return {"class": type(inner).__name__, **{f"group {i}": group for i, group in enumerate(groups)}}


def check_place(run: Run, shared: dict[str, Any], own: dict[str, Any]) -> None:
    """Raise CheckpointError where the place in the run cannot be, or the two parts are of two checkpoints."""
    at, record, last = shared["at"], shared["record"], run.record.settings["max_epochs"]
    if own["at"] != at:
        raise CheckpointError(f"has files of two checkpoints, at {own['at']} and at {at}")
    whole = [at["epoch"], at["step"], at["waited"], record["epochs"]]
    counted = all(type(n) is int and n >= 0 for n in whole) and type(at["finished"]) is bool
    best, seconds = at["best"], shared["seconds"]
    judged = best is None or (type(best) in (int, float) and math.isfinite(best))
    if (
        not (counted and judged and type(seconds) is float and math.isfinite(seconds))
        or not (at["epoch"] < last or (at["epoch"] == last and at["finished"]))
        or at["step"] >= run.sampler.steps
        or not record["epochs"] == at["epoch"] == len(record["history"])
    ):
        told = len(record["history"])
        raise CheckpointError(f"is at {at} with {told} epochs told, but a run has {last} epochs of {run.sampler.steps} steps")
    if not all(type(k) is str and isinstance(v, int | float) for line in record["history"] for k, v in line.items()):
        raise CheckpointError("has a history that is not of numbers")


def check_numbers(run: Run, trained: dict[str, Any]) -> None:
    """Raise CheckpointError naming a weight that is not finite, or a tensor of an optimizer that is not as its parameter."""
    for name, x in _weights(trained):
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise CheckpointError(f"has a weight that is not finite, {name}")
    now = run.method.state_dict()
    if trained["weights"] is not None:
        for name, x in trained["weights"].items():
            if name not in now or x.dtype != now[name].dtype or (run.shards is None and x.shape != now[name].shape):
                raise CheckpointError(f"has a weight {name} of {x.dtype} {tuple(x.shape)}, the method has not")
    for player, saved in trained["optimizers"].items():
        parameters = [p for group in run.optimizers[player].param_groups for p in group["params"]]
        for i, entries in saved["state"].items():
            of_rows = parameters[i].to_local() if hasattr(parameters[i], "to_local") else parameters[i]
            for name, x in entries.items():
                if isinstance(x, Tensor) and x.ndim and x.shape != of_rows.shape:
                    raise CheckpointError(f"has {name} {tuple(x.shape)} for a parameter {tuple(of_rows.shape)}")


def _weights(trained: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """All that is or may become a trained weight."""
    yield from trained["parameters"].items()
    yield from ((trained["weights"] or {}).items())
    yield from (("the average", x) for x in (trained["average"] or {}).get("mean", ()))
