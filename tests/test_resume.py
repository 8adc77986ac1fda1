"""Interrupted runs go on to the same bits; torn checkpoints, other runs, full disks and bad losses are told."""

import hashlib
import json
import math
import os
import resource
import shutil
import signal
import warnings

import pytest
import torch
from conftest import planted, worded
from safetensors.torch import load_file, save_file
from test_methods import METHODS, small

import hybridrec.methods
from hybridrec.diagnostics import Diagnostics
from hybridrec.errors import HybridrecError
from hybridrec.methods import LightGCN, MultVAE
from hybridrec.training import (
    CheckpointError,
    Checkpoints,
    CheckpointWarning,
    Stopped,
    TrainingError,
    fit,
    make_accelerator,
    replay,
)

NO_CLOCK = {"seconds": None}
TRAINED = [name for name in METHODS if not hasattr(getattr(hybridrec.methods, name), "solve")]


@pytest.fixture(scope="module")
def data():
    return worded(planted(users=30, items=24))


def signalled(method, at, number=signal.SIGTERM):
    """The method, whose sampler sends this process a signal before its ``at``-th batch of the run."""
    make, count = method.sampler, iter(range(10**6))

    def sampler(*args, **kwargs):
        made = make(*args, **kwargs)
        draw = made.epoch

        def epoch(*args, **kwargs):
            for batch in draw(*args, **kwargs):
                if next(count) == at:
                    os.kill(os.getpid(), number)
                yield batch

        made.epoch = epoch
        return made

    method.sampler = sampler
    return method


def decaying(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / (2 * steps))


def state(method):
    return {name: x.clone() for name, x in [*method.named_parameters(), *method.named_buffers()]}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def settings(method, data):
    """How a method is trained: batches small enough that an epoch has several."""
    few = method.sampler(data, batch_size=60, seed=0).steps < 4
    return {"epochs": 4, "batch_size": 7 if few else 60, "lr": 0.01, "every": 2, "progress": False}


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_goes_on_to_the_same_bits(name, data, tmp_path):
    whole = small(name, data)
    how = settings(whole, data)
    record = fit(whole, data, **how)
    steps = whole.sampler(data, batch_size=how["batch_size"], seed=0).steps
    assert steps > 2
    for at in (1, steps, steps + 1):  # in mid-epoch, in the last step before a validation and just behind it
        with pytest.raises(Stopped):
            fit(signalled(small(name, data), at), data, checkpoint=Checkpoints(tmp_path, **NO_CLOCK), **how)
    method = small(name, data)
    torch.manual_seed(99)  # what was drawn before must not matter
    again = fit(method, data, checkpoint=Checkpoints(tmp_path, **NO_CLOCK), **how)
    assert again.history == record.history and again.best_epoch == record.best_epoch
    assert same(state(method), state(whole))


def run(data, folder=None, method=None, **changed):
    """A small run with checkpoints in ``folder`` after every step, and what is left of it: method and record."""
    method = method or small("LightGCN", data)
    how = {"epochs": 3, "batch_size": 60, "lr": 0.02, "every": 1, "seed": 3, "progress": False, **changed}
    if folder and "checkpoint" not in how:
        how["checkpoint"] = Checkpoints(folder, steps=1, **NO_CLOCK)
    return method, fit(method, data, **how)


def test_what_does_not_change_is_not_written_and_must_be_the_same(data, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridrec.training.state.SMALL", 0)
    whole, _ = run(data, method=small("BUIR", data))
    with pytest.raises(Stopped):
        run(data, tmp_path, method=signalled(small("BUIR", data), 5))
    newest = Checkpoints(tmp_path).newest()
    written = json.loads((newest / "process-0.json").read_text())
    assert "graph.col" not in json.dumps(written["dict"][2][1]["dict"][0]) and "graph.col" in json.dumps(written)
    assert "others.tensors.twin.copy.weight" in json.dumps(written)  # it follows the weights
    other = small("BUIR", data)
    other.graph.value[0] = 9.0
    with pytest.raises(CheckpointError, match=r"was written when graph\.value of the method was not what it is now"):
        run(data, tmp_path, method=other)
    assert same(state(run(data, tmp_path, method=small("BUIR", data))[0]), state(whole))


def test_optimizers_schedules_averages_watchers_and_generators_go_on(data, tmp_path):
    def everything(folder=None, at=None):
        watch = Diagnostics()
        method = small("SimGCL", data)
        record = None
        try:
            _, record = run(
                data,
                folder,
                method=method if at is None else signalled(method, at),
                schedule=decaying,
                average=0.9,
                clip=1.0,
                weight_decay=0.01,
                watch=[watch],
                patience=1,
                epochs=6,
            )
        except Stopped:
            assert at is not None
        return method, record, watch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)  # what the watcher says of so small a method
        method, record, watch = everything()
        for at in (2, 3, 1):
            everything(tmp_path, at)
        again, resumed, seen = everything(tmp_path)
    assert resumed.history == record.history and seen.history == watch.history and seen.warned == watch.warned
    assert same(state(again), state(method))
    assert resumed.epochs == record.epochs and resumed.best_epoch == record.best_epoch
    assert resumed.seconds > 0


def test_the_loss_scaler_goes_on(data, tmp_path):
    def scaled(folder=None, at=None):
        accelerator = make_accelerator()
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=4)
        method = small("LightGCN", data)
        method = method if at is None else signalled(method, at)
        adam = {"optimizer": lambda groups: torch.optim.Adam(groups, lr=0.02)}
        return *run(data, folder, method=method, accelerator=accelerator, **adam), accelerator.scaler.state_dict()

    whole, record, scale = scaled()
    assert scale["scale"] > 8 and scale["_growth_tracker"] != 0  # it grew, and is on its way to grow again
    with pytest.raises(Stopped):
        scaled(tmp_path, 4)
    again, told, resumed = scaled(tmp_path)
    assert resumed == scale and told.history == record.history and same(state(again), state(whole))


def test_ctrl_c_stops_as_well_with_its_own_status(data, tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background of a shell
    with pytest.raises(Stopped) as stopped:
        run(data, tmp_path, method=signalled(small("LightGCN", data), 4, signal.SIGINT))
    assert stopped.value.code == 130
    assert "SIGINT: stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before  # handlers are put back


def test_a_finished_run_is_not_run_again(data, tmp_path):
    method, record = run(data, tmp_path)
    again = small("LightGCN", data)
    again.forward = None  # would fail if a step were taken
    _, told = run(data, tmp_path, method=again)
    assert told.history == record.history and same(state(again), state(method))


def test_torn_and_altered_checkpoints_are_passed_over_with_a_warning(data, tmp_path):
    whole, record = run(data)
    with pytest.raises(Stopped):
        run(data, tmp_path, method=signalled(small("LightGCN", data), 5))
    newest, before = Checkpoints(tmp_path).found()
    file = newest / "shared.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.warns(CheckpointWarning, match=r"shared\.safetensors does not have the checksum"):
        assert Checkpoints(tmp_path).newest() == before
    with pytest.warns(CheckpointWarning):
        method, told = run(data, tmp_path)
    assert told.history == record.history and same(state(method), state(whole))


@pytest.mark.parametrize("harm", ["no manifest", "cut", "a file is gone", "manifest is no JSON", "aside"])
def test_any_damage_is_recognised(data, tmp_path, harm):
    run(data, tmp_path, epochs=1)
    newest, before = Checkpoints(tmp_path).found()
    if harm == "no manifest":
        (newest / "checksums.json").unlink()
    elif harm == "cut":
        os.truncate(newest / "process-0.safetensors", 100)
    elif harm == "a file is gone":
        (newest / "shared.json").unlink()
    elif harm == "manifest is no JSON":
        (newest / "checksums.json").write_text('{"files": ')
    else:
        newest.rename(tmp_path / ".writing")  # killed before it was renamed
        assert Checkpoints(tmp_path).newest() == before
        return
    with pytest.warns(CheckpointWarning, match=newest.name):
        assert Checkpoints(tmp_path).newest() == before


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"lr": 0.03}, r"settings\.lr was 0\.02 and is now 0\.03"),
        ({"batch_size": 50}, r"settings\.batch_size"),
        ({"seed": 4}, "seed was 3 and is now 4"),
        ({"epochs": 9}, r"settings\.max_epochs"),
        ({"schedule": decaying}, "schedules"),
        ({"optimizer": lambda g: torch.optim.SGD(g, lr=0.1)}, r"optimizers\.class was 'Adam' and is now 'SGD'"),
    ],
)
def test_another_run_is_refused_and_the_field_named(data, tmp_path, changed, field):
    run(data, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=field):
        run(data, tmp_path, **{"epochs": 1, **changed})


def test_other_data_another_method_and_a_full_folder_are_refused(data, tmp_path):
    run(data, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="data was"):
        run(planted(users=30, items=24, seed=1), tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=r"method\.arguments\.dim was 16 and is now 8"):
        run(data, tmp_path, method=LightGCN(data, dim=8, depth=2), epochs=1)
    with pytest.raises(CheckpointError, match="name another folder"):
        run(data, epochs=1, checkpoint=Checkpoints(tmp_path, resume=False))


def test_the_newest_and_the_best_are_kept(data, tmp_path):
    values = iter([0.1, 0.9, 0.3, 0.5, 0.2, 0.4])
    keep = Checkpoints(tmp_path, steps=1, keep_last=2, keep_best=2, **NO_CLOCK)
    run(data, epochs=6, patience=None, validate=lambda m: next(values), checkpoint=keep)
    steps = small("LightGCN", data).sampler(data, batch_size=60).steps
    kept = [int(p.name.removeprefix("step-")) for p in keep.found()]
    assert kept == [6 * steps, 6 * steps - 1, 4 * steps, 2 * steps]
    run(data, tmp_path / "few", epochs=2, checkpoint=Checkpoints(tmp_path / "few", steps=1, keep_last=1, **NO_CLOCK))
    assert len(Checkpoints(tmp_path / "few").found()) == 1


def test_a_damaged_checkpoint_does_not_count_among_those_kept(data, tmp_path):
    how = {"epochs": 3, "checkpoint": Checkpoints(tmp_path, steps=1, keep_last=1, **NO_CLOCK)}
    whole, _ = run(data, epochs=3)
    with pytest.raises(Stopped):
        run(data, method=signalled(small("LightGCN", data), 4), **how)
    (good,) = how["checkpoint"].found()
    torn = good.with_name("step-000000000900")
    shutil.copytree(good, torn)
    (torn / "shared.json").write_text("{")
    with pytest.warns(CheckpointWarning, match="900"), pytest.raises(Stopped):
        run(data, method=signalled(small("LightGCN", data), 1), **how)
    (newer,) = how["checkpoint"].found()  # the torn one went with the first that was whole again
    assert good.name < newer.name < torn.name
    assert same(state(run(data, **how)[0]), state(whole))


def resealed(checkpoint, name, change):
    """One tree of a checkpoint changed, and the checksums put right."""
    described = json.loads((checkpoint / f"{name}.json").read_text())
    tensors = load_file(checkpoint / f"{name}.safetensors")
    described = change(described, tensors) or described
    (checkpoint / f"{name}.json").write_text(json.dumps(described))
    save_file(tensors, checkpoint / f"{name}.safetensors")
    manifest = json.loads((checkpoint / "checksums.json").read_text())
    for file in manifest["files"]:
        manifest["files"][file] = hashlib.sha256((checkpoint / file).read_bytes()).hexdigest()
    (checkpoint / "checksums.json").write_text(json.dumps(manifest))


def put(described, path, value):
    """A value at a path of names in a described tree."""
    for entry in described["dict"]:
        if entry[0] == path[0]:
            if len(path) == 1:
                entry[1] = value
            else:
                put(entry[1], path[1:], value)


ALTERED = {
    "a weight": ("shared", lambda d, t: [t[k].fill_(math.nan) for k in t if "parameters" in k] and None, "not finite"),
    "the place": ("shared", lambda d, t: put(d, ["at", "epoch"], 99), "two checkpoints"),
    "the history": ("shared", lambda d, t: put(d, ["record", "history"], []), "epochs told"),
    "an optimizer": (
        "shared",
        lambda d, t: t.update({k: x[:1].clone() for k, x in t.items() if k.endswith("exp_avg")}),
        r"has exp_avg \(1, 16\) for a parameter",
    ),
    "a method of the class": (
        "process-0",
        lambda d, t: put(d, ["others", "attributes"], {"dict": [["forward", {"dict": [["value", 1], ["moved", False]]}]]}),
        "has forward, which training never changes",
    ),
    "a part": ("process-0", lambda d, t: {"dict": []}, "does not fit this run"),
    "the form": ("process-0", lambda d, t: {"graph": {"x": 1}}, "is not what a checkpoint is made of"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_is_altered_with_its_checksums_is_refused(data, tmp_path, what):
    with pytest.raises(Stopped):
        run(data, tmp_path, method=signalled(small("LightGCN", data), 5))
    name, change, said = ALTERED[what]
    resealed(Checkpoints(tmp_path).newest(), name, change)
    with pytest.raises(CheckpointError, match=said) as caught:
        run(data, tmp_path)
    assert str(Checkpoints(tmp_path).newest()) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.timeout(60)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(data, tmp_path):
    run(data, tmp_path, epochs=1)
    newest, before = Checkpoints(tmp_path).found()
    (newest / "shared.json").unlink()
    os.mkfifo(newest / "shared.json")
    with pytest.warns(CheckpointWarning, match="is not a file"):
        assert Checkpoints(tmp_path).newest() == before


def test_weights_that_are_not_finite_after_the_last_step_are_told(data):
    class Diverging(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.fill_(math.inf)

    last = small("LightGCN", data)
    with pytest.raises(TrainingError, match=r"nodes\.weight is not finite after the last step"):
        run(data, method=last, epochs=1, batch_size=10**6, validate=lambda m: 0.0, optimizer=lambda g: Diverging(g, lr=0.1))


class Exploding(MultVAE):
    """Its loss is not a number where one user is in the batch."""

    def forward(self, batch):
        terms = super().forward(batch)
        return {**terms, "curse": terms["rebuild"] * (math.nan if 7 in batch.user.tolist() else 0)}


def test_a_bad_loss_stops_at_once_and_its_batch_is_replayed(data, tmp_path):
    def build():
        torch.manual_seed(0)
        return Exploding(data, dim=8, hidden=16)

    with pytest.raises(TrainingError, match=r"epoch 1, step \d+: rebuild = .*, curse = nan.*The batch is in") as caught:
        run(data, tmp_path, method=build(), batch_size=4)
    assert isinstance(caught.value, HybridrecError)
    batch, terms = replay(build(), tmp_path)
    assert 7 in batch.user.tolist() and type(batch).__name__ == "Rows" and batch.history.item.numel()
    kept = float(str(caught.value).split("rebuild = ")[1].split(",")[0])
    assert terms["rebuild"].item() == pytest.approx(kept, rel=1e-3) and terms["curse"].isnan()
    assert Checkpoints(tmp_path).newest() is not None  # the last good checkpoint


def test_a_run_that_a_checkpoint_cannot_hold_says_what(data, tmp_path):
    class Odd(LightGCN):
        def refresh(self):
            self.thing = object()

    with pytest.raises(CheckpointError, match=r"thing.* is a object; keep numbers"):
        run(data, tmp_path, method=Odd(data, dim=8, depth=1))


def test_a_disk_that_is_full_and_a_folder_one_may_not_write(data, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        with pytest.raises(CheckpointError, match=r"the disk does not take a checkpoint .*; free some space"):
            run(data, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert Checkpoints(tmp_path).newest() is None
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="no checkpoint can be written"):
        run(data, tmp_path / "file" / "folder")


def test_exhausted_memory_is_explained(data, tmp_path):
    class Greedy(LightGCN):
        def forward(self, batch):
            return {"large": torch.empty(1 << 50).sum()}

    with pytest.raises(TrainingError, match=r"out of memory at epoch 1, step 1: a smaller batch_size"):
        run(data, method=Greedy(data, dim=8))
    with pytest.raises(TrainingError, match=r"out of memory at the validation after epoch 1: .*chunk"):
        run(data, validate=lambda m: torch.empty(1 << 50).sum().item())


def test_nothing_of_a_checkpoint_is_executed_or_pickled(data, tmp_path):
    run(data, tmp_path, epochs=1)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files and {p.suffix for p in files} == {".json", ".safetensors"}
