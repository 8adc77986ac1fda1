"""Writes and reads the checkpoints of one run, all of its processes together."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from hybridrec.errors import ArtifactError
from hybridrec.training.folder import Checkpoints, read_part, write_part
from hybridrec.training.interruption import Interruption
from hybridrec.training.record import CheckpointError, Stopped

if TYPE_CHECKING:
    from accelerate import Accelerator

SHARED, OWN = "shared", "process-{}"


class Keeper:
    """Decides with the other processes when a checkpoint is due, writes it with them, and finds the one to go on from.

    ``identity`` says what the run is, as JSON: a checkpoint of another run is refused, and the field that differs named.
    A checkpoint has a part that all processes share and one for each of them.
    """

    def __init__(self, checkpoints: Checkpoints, accelerator: Accelerator, identity: dict[str, Any]) -> None:
        self.checkpoints, self.accelerator, self.identity = checkpoints, accelerator, identity
        self.interruption = Interruption()
        self._last, self._steps = time.monotonic(), 0

    def wishes(self) -> tuple[int, int]:
        """The signal this process was sent, or 0, and 1 where a checkpoint is due by the clock or the count of steps."""
        seconds, steps = self.checkpoints.seconds, self.checkpoints.steps
        by_clock = seconds is not None and self.accelerator.is_main_process and time.monotonic() - self._last >= seconds
        return self.interruption.signal, int(by_clock or (steps is not None and self._steps >= steps))

    def count(self) -> None:
        """One more step is done."""
        self._steps += 1

    def write(self, step: int, state: Callable[[], tuple[Any, Any]], valid: float | None = None) -> Path:
        """Write a checkpoint of ``step``. Every process calls this; each fails with CheckpointError if any of them does."""
        accelerator, rank = self.accelerator, self.accelerator.process_index
        checkpoints = self.checkpoints
        self._together(checkpoints.begin if accelerator.is_main_process else None)
        aside = checkpoints.path / ".writing"

        def parts() -> dict[str, str]:
            shared, own = state()
            digests = write_part(aside, OWN.format(rank), own)
            if accelerator.is_main_process:
                digests |= write_part(aside, SHARED, {"identity": self.identity, **shared})
            return digests

        digests = {name: digest for some in self._together(parts) for name, digest in some.items()}
        commit = lambda: checkpoints.commit(step, digests, valid)  # noqa: E731
        path = self._together(commit if accelerator.is_main_process else None)[0]
        self._last, self._steps = time.monotonic(), 0
        return path

    def resume(self, restore: Callable[[Any, Any], None]) -> Path | None:
        """Hand both parts of the newest whole checkpoint to ``restore``; its path, None where there is none.

        Raises CheckpointError in every process where it is of another run, or does not fit one of them, or where there is one
        and ``resume`` is off.
        """
        path = self._together(self.checkpoints.newest if self.accelerator.is_main_process else None)[0]
        if path is None:
            return None
        if not self.checkpoints.resume:
            raise CheckpointError(f"{path} is there; name another folder, or delete it to begin anew")

        def read() -> None:
            try:
                shared, own = read_part(path, SHARED), read_part(path, OWN.format(self.accelerator.process_index))
                _compare(shared.pop("identity"), self.identity)
                restore(shared, own)
            except ArtifactError as e:
                raise CheckpointError(f"{path} cannot be read: {e}") from e
            except CheckpointError as e:
                raise CheckpointError(f"{path} {e}") from e
            except Exception as e:  # what is written wrongly, but with its checksums, may fail in any way
                raise CheckpointError(
                    f"{path} does not fit this run ({type(e).__name__}: {e!s:.200}); delete it to go on from the one before"
                ) from e

        self._together(read)
        return path

    def stop(self, number: int, path: Path) -> None:
        """End the program, now that the checkpoint at ``path`` is written."""
        name = signal.Signals(number).name
        if self.accelerator.is_main_process:
            print(f"{name}: stopped; {path} is written, and the same call goes on from there", file=sys.stderr)
        raise Stopped(128 + number)

    def _together(self, act: Callable[[], Any] | None) -> list[Any]:
        """What ``act`` returned in each process, in every process; if it failed in any, all raise a CheckpointError."""
        result, problem = None, None
        try:
            result = act() if act else None
        except CheckpointError as e:
            problem = str(e)
        except OSError as e:
            problem = (
                f"{self.checkpoints.path}: no checkpoint can be written or read ({e}); free some space, or name a folder that "
                "you may write to"
            )
        outcomes = everywhere((result, problem))
        problems = [p for _, p in outcomes if p]
        if problems:
            raise CheckpointError(problems[0])
        return [r for r, _ in outcomes]


def everywhere(x: Any) -> list[Any]:
    """``x`` of every process, a small plain value, in all of them."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return [x]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, x)
    return found


def largest(*values: int) -> list[int]:
    """The largest of each value over all processes."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return list(values)
    device = torch.device("cpu") if "gloo" in dist.get_backend() else torch.accelerator.current_accelerator()
    found = torch.tensor(values, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def _compare(theirs: dict[str, Any], mine: dict[str, Any], field: str = "") -> None:
    for name in dict.fromkeys([*theirs, *mine]):
        a, b, where = theirs.get(name), mine.get(name), f"{field}.{name}".strip(".")
        if isinstance(a, dict) and isinstance(b, dict):
            _compare(a, b, where)
        elif a != b:
            raise CheckpointError(
                f"is of another run: {where} was {_short(a)} and is now {_short(b)}; "
                "go on with what it was, or name another folder"
            )


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 80 else f"{text[:77]}..."
