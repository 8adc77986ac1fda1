"""Run by torchrun with FSDP2 in the environment: what each process holds at rest, and whether a stopped run goes on to the same
bits; what is saved, and what is left of sharding after training. Writes JSON.

    export ACCELERATE_USE_CPU=true ACCELERATE_USE_FSDP=true FSDP_VERSION=2
    torchrun --nproc_per_node 2 tests/workers/sharded.py out.json SGL
"""

import gc
import json
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import torch.distributed as dist
from conftest import planted, worded
from test_methods import small
from test_resume import decaying, settings

from hybridrec.diagnostics import Diagnostics
from hybridrec.evaluation.ranking import evaluate
from hybridrec.saving import load_method, save_method
from hybridrec.training import Checkpoints, Stopped, fit, make_accelerator


class Watched:
    """A sampler whose epochs do something before a batch: at rest, between two steps."""

    def __init__(self, method, act):
        self.make, self.act, self.count = method.sampler, act, 0
        method.sampler = self

    def __call__(self, *args, **kwargs):
        made = self.make(*args, **kwargs)
        draw = made.epoch

        def epoch(*args, **kwargs):
            for batch in draw(*args, **kwargs):
                self.act(self.count)
                self.count += 1
                yield batch

        made.epoch = epoch
        return made


def live() -> int:
    """Bytes of all floating tensors there are, each storage counted once."""
    gc.collect()
    found = {}
    for x in gc.get_objects():
        if type(x) in (torch.Tensor, torch.nn.Parameter) and x.is_floating_point():
            storage = x.untyped_storage()
            found[storage._cdata] = storage.nbytes()
    return sum(found.values())


def at_rest(sides: int, dim: int) -> dict:
    """What training LightGCN adds to what there was, by the time of the fifth step: (table, all that lives, optimizer's)."""
    data = planted(users=sides, items=sides)
    torch.manual_seed(0)
    from hybridrec.methods import LightGCN

    method, made, seen = LightGCN(data, dim=dim, depth=1), [], {}
    table = method.nodes.weight.numel() * 4
    others = live() - table

    def look(step):
        if step == 5:
            state = made[0].state
            moments = [x for entries in state.values() for x in entries.values() if x.numel() > 1]
            local = [x.to_local() if hasattr(x, "to_local") else x for x in moments]
            seen.update(all=live() - others, moments=sum(x.numel() * 4 for x in local), table=table)

    Watched(method, look)

    def optimizer(groups):
        made.append(torch.optim.Adam(groups, lr=0.01))
        return made[0]

    fit(method, data, epochs=2, batch_size=200, optimizer=optimizer, accelerator=make_accelerator(), progress=False)
    return seen


def still(method):
    """The method without dropout, whose masks each process draws for itself."""
    for module in method.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return method


def once(name, data, folder=None, stop=None):
    """A run with everything there is in it; stopped before step ``stop`` by a SIGTERM to process 1 alone."""
    method, watch = still(small(name, data)), Diagnostics()

    def act(step):
        if step == stop and dist.get_rank() == dist.get_world_size() - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    Watched(method, act)
    players = hasattr(method, "players")
    how = {**settings(small(name, data), data), "average": 0.9, "clip": 0.5, "schedule": decaying, "watch": [watch]}
    checkpoint = None if folder is None else Checkpoints(folder, seconds=None)
    try:
        record = fit(method, data, **how, accelerator=make_accelerator(players=players), checkpoint=checkpoint)
    except Stopped:
        return None
    return method, record, watch


def resumed(name, folder: Path) -> dict:
    """Stopped twice and gone on, against not stopped at all."""
    data = worded(planted(users=30, items=24))
    whole, record, watch = once(name, data)
    stopped = [once(name, data, folder / "run", stop) is None for stop in (3, 2)]
    again, told, seen = once(name, data, folder / "run")
    state, other = whole.state_dict(), again.state_dict()
    if dist.get_rank() == 0:
        save_method(again, folder / "saved", data.schema)
    dist.barrier()
    loaded = load_method(folder / "saved")[0].state_dict()
    everyone = [None] * dist.get_world_size()
    digest = [float(x.double().sum()) for x in state.values()]
    dist.all_gather_object(everyone, digest)
    return {
        "stopped": stopped,
        "same": all(torch.equal(state[k], other[k]) for k in state),
        "history": json.dumps([told.history, seen.history]) == json.dumps([record.history, watch.history]),
        "saved": all(torch.equal(state[k], loaded[k]) for k in state),
        "everywhere": all(x == everyone[0] for x in everyone),
        "left": sorted({type(m).__name__ for m in whole.modules() if type(m).__name__.startswith("FSDP")}),
        "divided": any(hasattr(x, "to_local") for x in whole.state_dict().values()),
        "metrics": evaluate(whole, data).metrics,
        "losses": record.history,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    accelerator = make_accelerator()
    found = {"how": accelerator.distributed_type.value, "rest": at_rest(100, 64), "methods": {}}
    scratch = [tempfile.mkdtemp() if accelerator.is_main_process else None]
    dist.broadcast_object_list(scratch)
    for name in sys.argv[2:]:
        found["methods"][name] = resumed(name, Path(scratch[0]) / name)
    everyone = [None] * accelerator.num_processes
    dist.all_gather_object(everyone, found)
    if accelerator.is_main_process:
        Path(sys.argv[1]).write_text(json.dumps(everyone, indent=1))
    accelerator.end_training()
