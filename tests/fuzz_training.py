"""Fuzz target of training checkpoints: files of a folder damaged, altered, mixed, renamed or replaced, then gone on from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from conftest import planted
from fuzz import CHANGES, TARGETS, Wrong, mutate, target
from fuzz_artifacts import JSON, replaced
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import hybridrec as hr
from hybridrec.training import Checkpoints, CheckpointWarning, Stopped, fit
from hybridrec.training.folder import MANIFEST, damage

__all__ = ["TARGETS"]

METHODS = {
    "LightGCN": {"dim": 4, "depth": 1},
    "NCL": {"dim": 4, "depth": 1, "clusters": 2, "warmup": 1},
    "MultVAE": {"hidden": 8, "dim": 4},
    "CFGAN": {"hidden": 8},
    "SASRec": {"dim": 4, "depth": 1, "heads": 1},
}
FIGURES = st.sampled_from([float("nan"), float("inf"), 1e38, 0.0, -1.0])
FILES = st.integers(0, 9)


@cache
def data() -> hr.Dataset:
    return planted(users=12, items=10, each=6)


def train(name: str, folder: Path | None, stop: int | None = None) -> tuple[Any, Any]:
    """Three epochs of a method, of which a validation sees each; ended before step ``stop``."""
    torch.manual_seed(0)
    method = getattr(hr, name)(data(), **METHODS[name])
    make, count = method.sampler, iter(range(10**6))

    def sampler(*args: Any, **kwargs: Any) -> Any:
        made = make(*args, **kwargs)
        draw = made.epoch

        def epoch(*args: Any, **kwargs: Any) -> Any:
            for batch in draw(*args, **kwargs):
                if next(count) == stop:
                    raise Stopped(0)
                yield batch

        made.epoch = epoch
        return made

    method.sampler = sampler
    keep = None if folder is None else Checkpoints(folder, steps=1, seconds=None, keep_best=1)
    size = 5 if name in ("MultVAE", "CFGAN", "SASRec") else 20
    how = {"epochs": 3, "batch_size": size, "lr": 0.01, "every": 1, "average": 0.9, "progress": False, "patience": None}
    return method, fit(method, data(), checkpoint=keep, **how)


@cache
def written(name: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """The folder of a run stopped in its second epoch, and the weights that it would have come to."""
    root = Path(tempfile.mkdtemp(prefix="hybridrec-fuzz-run-"))
    try:
        train(name, root, stop=4)
    except Stopped:
        whole, _ = train(name, None)
        return root, {k: x.clone() for k, x in whole.state_dict().items()}
    raise AssertionError("the run was not stopped")


def seal(checkpoint: Path) -> None:
    """Make the checksums those of the files."""
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    files = [p for p in checkpoint.iterdir() if p.name != MANIFEST and p.is_file()]
    manifest["files"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))


def whole(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file; none where it is missing or harmed already."""
    with contextlib.suppress(OSError, SafetensorError):
        return load_file(path)
    return {}


def harm(folder: Path, act: tuple) -> Path:
    """Do one thing to one of the checkpoints in ``folder``; which it was."""
    kind, newest, at, more = act
    found = Checkpoints(folder).found()
    if not found:
        return folder
    checkpoint = found[0 if newest else -1]
    names = sorted(p.name for p in checkpoint.iterdir() if p.is_file() and not p.is_symlink())
    if not names:
        return checkpoint
    path = checkpoint / names[at % len(names)]
    if kind == "bytes":
        path.write_bytes(mutate(path.read_bytes(), more))
    elif kind == "json":
        path = checkpoint / ["shared.json", "process-0.json", MANIFEST][at % 3]
        place, value = more
        with contextlib.suppress(FileNotFoundError, ValueError):  # gone, or harmed already
            path.write_text(json.dumps(replaced(json.loads(path.read_text()), place, value)))
    elif kind == "numbers":
        path = checkpoint / ["shared.safetensors", "process-0.safetensors"][at % 2]
        tensors = whole(path)
        if tensors:
            place, figure = more
            name = sorted(tensors)[place % len(tensors)]
            tensors[name] = (torch.full_like(tensors[name].float(), figure)).to(tensors[name].dtype)
            save_file(tensors, path)
    elif kind == "shape":
        path = checkpoint / ["shared.safetensors", "process-0.safetensors"][at % 2]
        tensors = whole(path)
        if tensors:
            name = sorted(tensors)[more % len(tensors)]
            tensors[name] = torch.cat([tensors[name].reshape(-1)] * 2)[: max(0, 2 * tensors[name].numel() - 1)].contiguous()
            save_file(tensors, path)
    elif kind == "mix":
        other = found[-1 if newest else 0] / names[more % len(names)]
        if other.is_file() and other != path:
            shutil.copy(other, path)
    elif kind == "gone":
        path.unlink()
    elif kind == "odd":
        path.unlink()
        if more == "pipe":
            os.mkfifo(path)
        elif more == "folder":
            path.mkdir()
        else:
            path.symlink_to(more)
    elif kind == "more":
        with contextlib.suppress(IsADirectoryError):  # put there before
            (checkpoint / more).write_bytes(b"\x80\x04.")
    elif kind == "rename":
        goal = folder / more
        if not goal.exists():
            checkpoint.rename(goal)
            return goal
    else:
        (folder / more).mkdir(exist_ok=True)
    return checkpoint


KINDS = st.one_of(
    st.tuples(st.just("bytes"), st.booleans(), FILES, CHANGES),
    st.tuples(st.just("json"), st.booleans(), FILES, st.tuples(st.integers(0, 2000), JSON)),
    st.tuples(st.just("json"), st.booleans(), FILES, st.tuples(st.integers(0, 2000), JSON)),
    st.tuples(st.just("numbers"), st.booleans(), FILES, st.tuples(st.integers(0, 60), FIGURES)),
    st.tuples(st.just("shape"), st.booleans(), FILES, st.integers(0, 60)),
    st.tuples(st.just("mix"), st.booleans(), FILES, FILES),
    st.tuples(st.just("gone"), st.booleans(), FILES, st.none()),
    st.tuples(st.just("odd"), st.booleans(), FILES, st.sampled_from(["pipe", "folder", "nowhere", "/dev/zero", "/etc/passwd"])),
    st.tuples(st.just("more"), st.booleans(), FILES, st.sampled_from(["x.pkl", "shared.pt", "step-1", "process-1.json"])),
    st.tuples(st.just("rename"), st.booleans(), FILES, st.sampled_from(["step-x", "step-999999999999", "step-", ".writing"])),
    st.tuples(st.just("folder"), st.booleans(), FILES, st.sampled_from(["step-zzz", "step-000000000004", ".writing", "x"])),
)


@target(st.tuples(st.sampled_from([*METHODS]), st.lists(KINDS, min_size=1, max_size=3), st.booleans()))
def checkpoints(case: tuple[str, list[tuple], bool], folder: Path) -> None:
    """The run goes on to finite weights, or says what is wrong; the newest in the folder after it is whole."""
    name, acts, sealed = case
    root, whole = written(name)
    copied = Path(shutil.copytree(root, folder / "run"))
    harmed = {harm(copied, act) for act in acts}
    if sealed:
        for checkpoint in harmed:
            if (checkpoint / MANIFEST).is_file() and _is_json(checkpoint / MANIFEST):
                seal(checkpoint)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        method, _ = train(name, copied)
    if any(not issubclass(w.category, CheckpointWarning) for w in told):
        raise Wrong(f"warned of {[str(w.message)[:200] for w in told]}")
    state = method.state_dict()
    if not all(torch.isfinite(x).all() for x in state.values() if x.is_floating_point()):
        raise Wrong("weights are not finite")
    if not sealed and not all(torch.equal(state[k], x) for k, x in whole.items()):
        raise Wrong("a damaged checkpoint was gone on from: the weights are others")
    if (copied / ".writing").exists() or damage(Checkpoints(copied).found()[0]) is not None:
        raise Wrong("the folder is left half-written")


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except ValueError:
        return False
