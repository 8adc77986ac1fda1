"""Everything that a run has changed since it began: taken out as trees, and put back to the bit."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hybridrec.graph import Graph
from hybridrec.training.checks import check_numbers, check_place
from hybridrec.training.record import CheckpointError

if TYPE_CHECKING:
    from hybridrec.training.run import Run

# Modules of these libraries keep in attributes nothing that training changes.
FOREIGN = {"torch", "transformers", "sentence_transformers", "peft", "diffusers"}
SMALL = 1 << 16  # values: tensors of fewer are always written; some operators (batch normalisation) change them unseen
INTERNAL = {*vars(nn.Module()), "fitted"}


class Changes:
    """What training changes in a method: its trained parameters, and of buffers, other parameters and plain attributes those
    that are no longer what they were at the start.

    What stays the same (graphs, frozen encoders) is not written: a checksum makes sure that the resumed method has the same.
    Made after the method is on its device and before its first step.
    """

    def __init__(self, method: nn.Module) -> None:
        self.method = method
        # What is there at the start is held, so that nothing new comes to lie where it was.
        self.held = [*(x for _, x in self._others()), *(getattr(m, name) for _, m, name in self._attributes())]
        self.tensors = {name: _mark(x) for name, x in self._others()}
        self.attributes = {path: _mark(getattr(m, name)) for path, m, name in self._attributes()}
        self.digests: dict[str, str] = {}

    def parameters(self) -> dict[str, Tensor]:
        """The trained parameters; of a sharded one the share of this process."""
        return {name: local(p.detach()) for name, p in self.method.named_parameters() if p.requires_grad}

    def others(self) -> dict[str, Any]:
        """Other tensors and attributes that have changed, and the checksums of the tensors that have not."""
        moved = {name: local(x) for name, x in self._others() if x.numel() <= SMALL or _mark(x) != self.tensors.get(name)}
        attributes = {}
        for path, module, name in self._attributes():
            value = getattr(module, name)
            if _mark(value) != self.attributes.get(path):
                attributes[path] = {"value": value, "moved": _elsewhere(value)}
        fixed = {name: self._checksum(name, x) for name, x in self._others() if name not in moved}
        return {"tensors": moved, "attributes": attributes, "fixed": fixed}

    def restore(self, parameters: dict[str, Tensor], others: dict[str, Any]) -> None:
        """Put both back. Raises CheckpointError naming a tensor that is missing, misshapen or not what it was."""
        own = dict(self._others())
        for name, digest in others["fixed"].items():
            if name not in own or self._checksum(name, own[name]) != digest:
                raise CheckpointError(
                    f"was written when {name} of the method was not what it is now; build the method from the "
                    "same data with the same arguments, and seed (torch.manual_seed) before you do"
                )
        mine = self.parameters()
        if mine.keys() != parameters.keys():
            raise CheckpointError(f"has {sorted(parameters)}, the method trains {sorted(mine)}")
        with torch.no_grad():
            for name, x in parameters.items():
                if mine[name].shape != x.shape:
                    raise CheckpointError(f"has {name} {tuple(x.shape)}, the method {tuple(mine[name].shape)}")
                mine[name].copy_(x)
            for name, x in others["tensors"].items():
                self._place(name, x, own[name])
        modules = dict(self.method.named_modules())
        for path, entry in others["attributes"].items():
            owner, _, name = path.rpartition(".")
            value = entry["value"]
            if name in INTERNAL or hasattr(type(modules[owner]), name):
                raise CheckpointError(f"has {path}, which training never changes")
            setattr(modules[owner], name, _to(value, self._device()) if entry["moved"] else value)

    def _place(self, name: str, x: Tensor, own: Tensor) -> None:
        if own.shape == x.shape and own.dtype == x.dtype:
            local(own).copy_(x)
        elif own.ndim != x.ndim or own.dtype != x.dtype:
            raise CheckpointError(f"has {name} {tuple(x.shape)} of {x.dtype}, the method {tuple(own.shape)} of {own.dtype}")
        else:  # buffers may grow
            owner, _, leaf = name.rpartition(".")
            self.method.get_submodule(owner)._buffers[leaf] = x.to(own.device)

    def _device(self) -> torch.device:
        return next(self.method.parameters()).device

    def _others(self) -> Iterator[tuple[str, Tensor]]:
        yield from ((name, p.detach()) for name, p in self.method.named_parameters() if not p.requires_grad)
        yield from self.method.named_buffers()

    def _attributes(self) -> Iterator[tuple[str, nn.Module, str]]:
        for path, module in self.method.named_modules():
            if type(module).__module__.split(".")[0] not in FOREIGN and not isinstance(module, Graph):
                for name in vars(module).keys() - INTERNAL:
                    yield f"{path}.{name}" if path else name, module, name

    def _checksum(self, name: str, x: Tensor) -> str:
        if name not in self.digests:
            whole = local(x).detach().cpu().contiguous()
            content = whole.reshape(-1).view(torch.uint8).numpy() if whole.numel() else np.empty(0, np.uint8)
            self.digests[name] = hashlib.blake2b(content.data, digest_size=16).hexdigest()
        return self.digests[name]


def local(x: Tensor) -> Tensor:
    """The share of this process of a sharded tensor; any other as it is."""
    return x.to_local() if hasattr(x, "to_local") else x


def like(x: Tensor, parameter: Tensor) -> Tensor:
    """``x``, the share of this process, as a tensor sharded as ``parameter`` is; as it is where that is not sharded."""
    if not hasattr(parameter, "to_local") or x.shape != parameter.to_local().shape:
        return x
    from torch.distributed.tensor import DTensor

    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    x = x.to(parameter.to_local().device)
    return DTensor.from_local(x, mesh, placements, run_check=False, shape=parameter.shape, stride=parameter.stride())


def capture(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of a run between two steps: what all its processes share, and what this one has of its own."""
    others = run.changes.others()
    weights = run.weights and {name: local(x) for name, x in run.weights.items() if name not in others["fixed"]}
    trained = {
        "parameters": run.changes.parameters(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in run.optimizers.items()},
        "average": run.average and {"steps": run.average.steps, "mean": run.average.mean},
        "weights": weights,
    }
    sharded = any(hasattr(p, "to_local") for p in run.method.parameters())
    shared = {
        "at": asdict(run.at),
        "record": {name: getattr(run.record, name) for name in ("epochs", "best_epoch", "history")},
        "seconds": run.record.seconds + time.perf_counter() - run.started,
        "schedules": [schedule.state_dict() for schedule in run.schedules],
        "scaler": run.accelerator.scaler and run.accelerator.scaler.state_dict(),
        **({} if sharded else trained),
    }
    own = {
        "at": asdict(run.at),
        "random": random_state(run.accelerator.device),
        "totals": run.totals,
        "others": others,
        "watch": [see.state_dict() if hasattr(see, "state_dict") else None for see in run.watch],
        **(trained if sharded else {}),
    }
    return shared, own


def restore(run: Run, shared: dict[str, Any], own: dict[str, Any]) -> None:
    """Put a run that has just been prepared where another was when ``capture`` made ``shared`` and ``own``.

    Raises CheckpointError where they do not fit it.
    """
    device, trained = run.accelerator.device, own if "parameters" in own else shared
    check_place(run, shared, own)
    check_numbers(run, trained)
    run.changes.restore(trained["parameters"], own["others"])
    for name, saved in trained["optimizers"].items():
        parameters = [p for group in run.optimizers[name].param_groups for p in group["params"]]
        for i, entries in saved["state"].items():
            saved["state"][i] = {k: like(v, parameters[i]) if isinstance(v, Tensor) else v for k, v in entries.items()}
        run.optimizers[name].load_state_dict(saved)
    if run.average:
        run.average.steps = trained["average"]["steps"]
        with torch.no_grad():
            for mean, x in zip(run.average.mean, trained["average"]["mean"], strict=True):
                local(mean).copy_(x)
    if trained["weights"] is not None:
        now = run.method.state_dict()
        saved = {name: like(x.to(device), now[name]) for name, x in trained["weights"].items()}
        run.weights = {name: saved[name] if name in saved else x.detach().clone() for name, x in now.items()}
    for schedule, saved in zip(run.schedules, shared["schedules"], strict=True):
        schedule.load_state_dict(saved)
    if shared["scaler"] is not None and run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(shared["scaler"])
    for name, value in shared["at"].items():
        setattr(run.at, name, value)
    for name, value in shared["record"].items():
        setattr(run.record, name, value)
    run.record.seconds = shared["seconds"]
    run.totals = {name: x.to(device) for name, x in own["totals"].items()}
    for see, saved in zip(run.watch, own["watch"], strict=True):
        if saved is not None and hasattr(see, "load_state_dict"):
            see.load_state_dict(saved)
    set_random_state(own["random"], device)


def random_state(device: torch.device) -> dict[str, Any]:
    """Where every random generator stands that a method may draw from: Python, NumPy, PyTorch and its device."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back where ``random_state`` found them."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"], device)


def _mark(x: Any) -> Any:
    """Something that is equal for as long as ``x`` stays as it is."""
    if x is None or isinstance(x, bool | int | float | str):
        return type(x).__name__, repr(x)
    if isinstance(x, list | tuple):
        return type(x).__name__, tuple(map(_mark, x))
    if isinstance(x, dict):
        return "dict", tuple((repr(k), _mark(v)) for k, v in x.items())
    if isinstance(x, set | frozenset):
        return "set", tuple(sorted(map(repr, x)))
    if isinstance(x, Tensor):
        whole = local(x)
        return "tensor", whole.data_ptr(), whole._version, tuple(whole.shape)
    return "object", id(x)


def _elsewhere(x: Any) -> bool:
    """Whether a tensor in ``x`` lies on another device than the CPU."""
    if isinstance(x, Tensor):
        return x.device.type != "cpu"
    if isinstance(x, Graph):
        return x.col.device.type != "cpu"
    values = x.values() if isinstance(x, dict) else x if isinstance(x, list | tuple) else ()
    return any(map(_elsewhere, values))


def _to(x: Any, device: torch.device) -> Any:
    if isinstance(x, Tensor | Graph):
        return x.to(device)
    if isinstance(x, dict):
        return {k: _to(v, device) for k, v in x.items()}
    if isinstance(x, list | tuple):
        inner = [_to(v, device) for v in x]
        return type(x)(*inner) if hasattr(x, "_fields") else type(x)(inner)
    return x
