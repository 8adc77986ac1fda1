"""The record of how a result came about: data, protocol, method with every argument, costs, versions, machine."""

from __future__ import annotations

import hashlib
import platform
import random
import resource
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

import hybridrec
from hybridrec.saving import describe

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset
    from hybridrec.evaluation.case import Case
    from hybridrec.evaluation.protocol import Protocol
    from hybridrec.evaluation.result import Result

LIBRARIES = ("torch", "numpy", "scipy", "transformers", "sentence-transformers", "peft", "diffusers", "accelerate", "datasets")


def passport(
    method: Any, data: Dataset, part: str, protocol: Protocol, case: Case, result: Result, seconds: float
) -> dict[str, Any]:
    """The record of ``result``, as JSON.

    ``data.order`` is that of histories. ``training`` is what ``fit`` left on the method (seed, epochs, seconds, peak memory,
    settings), None where it was not trained by ``fit``. ``tuning`` is for who tuned it to fill in: trials, minutes. ``git``
    is the revision of the package's own repository, None where it was installed from a release.
    """
    fitted = getattr(method, "fitted", None)
    return {
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "goal": data.goal,
            "users": data.sides["user"],
            "items": data.sides["item"],
            "rows": {"train": len(data.train), **{name: len(r) for name, r in data.heldout.items()}},
            "order": "file" if data.train.time is None else "time, ties in file order",
        },
        "split": None if data.split is None else {"name": data.split.name, "arguments": describe(data.split.arguments)},
        "part": part,
        "protocol": protocol.as_dict(),
        "judged": {"candidates": case.items, "users": len(case.users), "digest": case.digest},
        "method": _method(method),
        "seed": None if fitted is None else fitted.seed,
        "training": None if fitted is None else fitted.as_dict(),
        "tuning": None,
        "metrics": dict(result.metrics),
        "slices": result.slices,
        "evaluation": {
            "seconds": seconds,
            "peak_memory": peak_memory(),
            "processes": dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1,
        },
        "versions": versions(),
        "hardware": hardware(),
        "git": revision(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _method(method: Any) -> dict[str, Any]:
    if hasattr(method, "arguments"):
        return describe(method)
    return {"class": f"{type(method).__module__}.{type(method).__qualname__}", "arguments": None}  # not @configured


def peak_memory() -> int:
    """Bytes: of the GPU where it was used, else the most this process ever held."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Count the most memory held from here on, where the system can (Linux, CUDA); elsewhere it stays that of the process."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    counter = Path("/proc/self/clear_refs")
    if counter.exists():
        counter.write_text("5", encoding="ascii")


def random_state() -> str:
    """A hash of where the global random generators stand (Python's, numpy's, torch's)."""
    _, key, *at = np.random.get_state(legacy=True)
    h = hashlib.blake2b(repr((random.getstate(), at)).encode() + np.asarray(key).tobytes(), digest_size=16)
    for x in (torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])):
        h.update(x.numpy().tobytes())
    return h.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Python, hybridrec and the libraries that results depend on, where installed."""
    found = {"python": platform.python_version(), "hybridrec": hybridrec.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def hardware() -> dict[str, Any]:
    """CPU model, cores that torch uses, and the GPU."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {"cpu": model or platform.machine(), "threads": torch.get_num_threads(), "gpu": gpus, "system": platform.platform()}


@cache
def revision() -> str | None:
    """The commit of the repository that this package's code is tracked in, ``-dirty`` where it was changed since."""
    folder = Path(hybridrec.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):  # no git here: nothing is known of the revision
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no", ".")
    return f"{commit}-dirty" if commit and changed else commit
