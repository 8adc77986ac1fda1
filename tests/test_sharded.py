"""FSDP2 by configuration alone, two real processes on CPUs: what each holds, its losses, how it goes on and is saved."""

import json
from pathlib import Path

import pytest
import torch
from conftest import planted, worded
from test_methods import small
from test_resume import TRAINED, decaying, settings
from workers.launch import torchrun
from workers.sharded import still

from hybridrec.diagnostics import Diagnostics
from hybridrec.training import fit

WORKERS = Path(__file__).parent / "workers"
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
NAMES = ["SGL", "MultVAE", "SASRec", "CFGAN"]


def launched(out: Path, methods: list[str], environment: dict[str, str], processes: int = 2) -> list[dict]:
    """What each process of tests/workers/sharded.py found."""
    torchrun(WORKERS / "sharded.py", out, *methods, processes=processes, environment=environment, timeout=1700)
    return json.loads(out.read_text())


def assert_whole_and_right(found: list[dict], name: str) -> None:
    """Stopped runs went on to the same bits, nothing of FSDP is left, and what was saved loads without any processes."""
    for process in found:
        told = process["methods"][name]
        assert told["stopped"] == [True, True], name
        assert told["same"] and told["history"] and told["saved"] and told["everywhere"], (name, told)
        assert told["left"] == [] and not told["divided"], name


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return launched(tmp_path_factory.mktemp("sharded") / "out.json", NAMES, FSDP)


def test_each_process_holds_half_of_a_table_of_its_gradient_and_of_its_optimizer_state(found):
    for process in found:
        rest = process["rest"]
        assert process["how"] == "FSDP"
        assert rest["moments"] == 2 * rest["table"] / 2
        assert rest["all"] == pytest.approx(4 * rest["table"] / 2, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_with_divided_parameters_goes_on_and_is_saved(found, name):
    assert_whole_and_right(found, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # what diagnostics say of so small a method
def test_its_losses_are_those_of_one_process(found, name):
    data = worded(planted(users=30, items=24))
    method = still(small(name, data))
    how = {**settings(small(name, data), data), "average": 0.9, "clip": 0.5, "schedule": decaying, "watch": [Diagnostics()]}
    record = fit(method, data, **how)
    for one, two in zip(record.history, found[0]["methods"][name]["losses"], strict=True):
        terms = [k for k in one if k in ("rank", "contrast", "rebuild", "next", "valid") or "/" in k]
        assert terms and {k: two[k] for k in terms} == pytest.approx({k: one[k] for k in terms}, rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_method_trains_with_divided_parameters(tmp_path):
    found = launched(tmp_path / "out.json", TRAINED, FSDP)
    for name in TRAINED:
        assert_whole_and_right(found, name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_processes_hold_a_third(tmp_path):
    for process in launched(tmp_path / "out.json", ["SGL"], FSDP, processes=3):
        assert process["rest"]["moments"] == pytest.approx(2 * process["rest"]["table"] / 3, rel=0.02)
        assert_whole_and_right([process], "SGL")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_the_configuration_each_process_holds_all(tmp_path):
    for process in launched(tmp_path / "out.json", ["SGL"], {}):
        assert process["how"] == "MULTI_CPU" and process["rest"]["moments"] == 2 * process["rest"]["table"]
        assert process["rest"]["all"] >= 4 * process["rest"]["table"]


def test_what_cannot_be_is_refused():
    from types import SimpleNamespace

    from hybridrec.training import TrainingError
    from hybridrec.training.shards import Shards

    old = {"fsdp_version": 1, "activation_checkpointing": False, "cpu_offload": None}
    recomputing = {**old, "fsdp_version": 2, "activation_checkpointing": True}
    for plugin, said in ((old, "FSDP 1 is not"), (recomputing, "checkpointing")):
        accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=SimpleNamespace(**plugin)))
        with pytest.raises(TrainingError, match=said):
            Shards(torch.nn.Linear(2, 2), accelerator)
