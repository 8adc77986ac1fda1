"""Start a script in several real processes by torchrun, on CPUs (gloo), as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# The fault handler tells where a process was when a signal ended it.
CPUS = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}


def command(script: Path | str, *args: object, processes: int = 2) -> list[str]:
    """What starts ``script`` with ``args`` in so many processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [*start, str(script), *map(str, args)]


def torchrun(
    script: Path | str, *args: object, processes: int = 2, environment: Mapping[str, str] | None = None, timeout: float = 240
) -> None:
    """Run ``script`` to its end; raises RuntimeError with all that the processes said where one of them failed."""
    env = {**os.environ, **CPUS, **(environment or {})}
    done = subprocess.run(
        command(script, *args, processes=processes), env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{processes} processes of {script} ended with {done.returncode}:\n{done.stderr}")
