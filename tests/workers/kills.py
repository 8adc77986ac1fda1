"""Kills real training processes at random moments, some of them while a checkpoint is written, and compares what comes of it.

    python tests/workers/kills.py --kills 25
    python tests/workers/kills.py --kills 25 --processes 2 --fsdp      # parameters divided over the two (FSDP2)

Every run is killed (SIGKILL) again and again until it ends by itself; its weights and log must then be those of a run that
was never interrupted, to the bit. Half of the runs are of two processes: one of them is killed, or both; one that is left
alone must end by itself. Processes are forked, so that the libraries are imported once. The last line is the tally as JSON.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path.insert(0, str(Path(__file__).parent.parent))

# Some of these training would import only when first used: imported before the fork, no child has to.
import accelerate  # noqa: F401
import torch
import torch._dynamo
import torch.distributed.elastic.multiprocessing.errors
import torch.distributed.fsdp
import torch.distributed.tensor
import tqdm.auto  # noqa: F401
from conftest import planted
from tallies import keep

import hybridrec as hr
import hybridrec.evaluation.ranking
import hybridrec.methods
from hybridrec.errors import HybridrecError
from hybridrec.training import Checkpoints, fit, make_accelerator

METHODS = {"SGL": {"dim": 8, "depth": 2}, "MultVAE": {"dim": 8, "hidden": 16}, "CFGAN": {"hidden": 16}}
BATCH = {"SGL": 50, "MultVAE": 6, "CFGAN": 6}
EXTRA: dict[str, str] = {}  # what the environment of two processes has besides
PATIENCE = 60.0  # seconds that a process which lost its partner may take to notice


def train(name: str, folder: Path | None, out: Path) -> None:
    """One process of one run: train, and write what came of it."""
    data = planted(users=30, items=24)
    torch.manual_seed(0)
    method = getattr(hr, name)(data, **METHODS[name])
    record = fit(
        method,
        data,
        epochs=5,
        batch_size=BATCH[name],
        lr=0.01,
        every=2,
        average=0.9,
        seed=1,
        accelerator=make_accelerator(
            players=hasattr(method, "players") or hasattr(method, "pretraining"), timeout=PATIENCE / 2
        ),
        checkpoint=None if folder is None else Checkpoints(folder, steps=2, seconds=None),
        progress=False,
    )
    weights = hashlib.sha256(b"".join(x.numpy().tobytes() for x in method.state_dict().values())).hexdigest()
    out.write_text(json.dumps({"weights": weights, "history": record.history, "best": record.best_epoch}))


def start(name: str, world: int, folder: Path | None, out: Path) -> list[int]:
    """Fork the processes of a run; their ids."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    started = []
    for rank in range(world):
        child = os.fork()
        if not child:
            status = 1
            try:
                log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.environ["ACCELERATE_USE_CPU"] = "true"
                if world > 1:
                    where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
                    os.environ.update(where, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), **EXTRA)
                warnings.simplefilter("ignore")
                train(name, folder, Path(f"{out}.{rank}"))
                status = 0
            except HybridrecError as e:
                print(f"error: {e}", flush=True)
                status = 3
            except SystemExit as e:
                status = int(e.code or 0)
            finally:
                sys.stdout.flush()
                os._exit(status)
        started.append(child)
    return started


def ended(pid: int, seconds: float = 0.0) -> int | None:
    """The exit code of a process, None if it has not ended within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.001)


class Run:
    """One run of one method by so many processes, in a folder of its own, killed until it ends by itself."""

    def __init__(self, name: str, world: int, folder: Path, chance: random.Random) -> None:
        self.name, self.world, self.folder, self.chance = name, world, folder, chance
        self.folder.mkdir(parents=True)

    def whole(self) -> dict:
        """What comes of it uninterrupted."""
        out = self.folder / "whole"
        begun = time.monotonic()
        codes = [ended(pid, 300) for pid in start(self.name, self.world, None, out)]
        assert codes == [0] * self.world, (codes, Path(f"{out}.log").read_text()[-2000:])
        self.seconds = time.monotonic() - begun
        return json.loads(Path(f"{out}.0").read_text())

    def attempt(self, kill: bool, in_write: bool) -> tuple[dict | None, dict]:
        """Start or go on; what came of it, or None and how it was killed."""
        out, checkpoints = self.folder / "killed", self.folder / "checkpoints"
        left = _writing(checkpoints)  # of the last kill
        processes = start(self.name, self.world, checkpoints, out)
        how = {"in_write": False, "alone": 0, "hung": 0}
        if kill:
            moment = time.monotonic() + self.chance.uniform(0.02, 1.2) * self.seconds
            while time.monotonic() < moment:
                time.sleep(0.0005)
                if any(os.waitid(os.P_PID, p, os.WEXITED | os.WNOHANG | os.WNOWAIT) for p in processes):
                    break
            if in_write:
                until = time.monotonic() + self.seconds
                while _writing(checkpoints) in (None, left) and time.monotonic() < until:
                    pass
                time.sleep(self.chance.uniform(0, 0.004))
            some = processes if self.chance.random() < 0.5 else [self.chance.choice(processes)]
            running = [p for p in some if os.waitid(os.P_PID, p, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None]
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            how["in_write"] = bool(running) and _writing(checkpoints) not in (None, left)
            if running:
                for pid in processes:
                    code = ended(pid, PATIENCE)
                    how["alone"] += pid not in running and code == 3
                    if code is None:
                        how["hung"] += 1
                        os.kill(pid, signal.SIGKILL)
                        ended(pid, 10)
                return None, how
        codes = [ended(pid, 300) for pid in processes]
        assert codes == [0] * self.world, (codes, Path(f"{out}.log").read_text()[-2000:])
        return json.loads(Path(f"{out}.0").read_text()), how


def _writing(checkpoints: Path) -> int | None:
    """When the unfinished write that there is was last written to, None if there is none."""
    try:
        return (checkpoints / ".writing").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def tally(kills: int, seed: int, folder: Path, worlds: tuple[int, ...] = (1, 2)) -> dict:
    """Kill so many times and count what came of it."""
    chance = random.Random(seed)
    found: dict = {"kills": 0, "in_write": 0, "left_alone_and_ended": 0, "hung": 0, "runs": 0, "different": 0}
    cases = [(name, world) for name in METHODS for world in worlds]
    wholes: dict = {}
    while found["kills"] < kills:
        case = cases[found["runs"] % len(cases)]
        run = Run(*case, folder / str(found["runs"]), chance)
        if case not in wholes:
            wholes[case] = run.whole(), run.seconds
        whole, run.seconds = wholes[case]
        result, times = None, 0
        while result is None:
            kill = found["kills"] < kills and times < min(4, max(1, kills // 3))
            result, how = run.attempt(kill, in_write=chance.random() < 0.5)
            times += result is None
            found["kills"] += result is None
            found["in_write"] += how["in_write"]
            found["left_alone_and_ended"] += how["alone"]
            found["hung"] += how["hung"]
        same = result == whole
        found["runs"] += 1
        found["different"] += not same
        print(f"{case[0]}, {case[1]} process(es): killed {times} times, {'the same' if same else 'DIFFERENT'}", flush=True)
        shutil.rmtree(run.folder)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of each run, in turn")
    parser.add_argument("--fsdp", action="store_true", help="two processes with FSDP2 in place of DDP")
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the tally there")
    args = parser.parse_args()
    if args.fsdp:
        EXTRA.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2")
    with tempfile.TemporaryDirectory() as scratch:
        found = tally(args.kills, args.seed, Path(scratch), tuple(args.processes))
    if args.out:
        worlds = " ".join(map(str, args.processes))
        command = f"tests/workers/kills.py --kills {args.kills} --seed {args.seed} --processes {worlds}{' --fsdp' * args.fsdp}"
        keep(args.out, command, found)
    print(json.dumps(found))
