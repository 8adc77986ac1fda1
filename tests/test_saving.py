"""Methods saved and loaded without their data, and what a damaged or hostile folder is answered."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import hybridrec as hr
from hybridrec.data.batches import Histories, Query
from hybridrec.encoders.table import NodeTable
from hybridrec.errors import ArtifactError
from hybridrec.saving import CONFIG, WEIGHTS, build, configured, describe, find_class, load_method, load_state, save_method


@pytest.fixture
def saved(planted, tmp_path):
    method = hr.LightGCN(planted, dim=8, depth=2).eval()
    save_method(method, tmp_path / "method", planted.schema)
    return method, tmp_path / "method"


def test_loads_without_its_data(saved, planted):
    method, folder = saved
    loaded, data = load_method(folder)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
    assert len(data.train) == 0
    assert data.schema == planted.schema
    assert loaded.arguments == method.arguments
    assert loaded.arguments.items() >= {"dim": 8, "depth": 2, "decay": 1e-4}.items()
    assert not loaded.training
    query = Query(torch.tensor([3, -1]), Histories.lists([[1, 2], [3]]))
    assert torch.equal(loaded.score(query), method.score(query))


def test_configured_remembers_every_argument():
    @configured
    class Inner:
        def __init__(self, size, scale=2.0):
            self.size = size

    @configured
    class Outer(nn.Module):
        def __init__(self, data, part, sizes=(1, 2), name=None):
            super().__init__()

    outer = Outer("the data", Inner(3), name="x")
    assert outer.arguments.keys() == {"part", "sizes", "name"}
    described = describe(outer)
    assert described["arguments"]["sizes"] == [1, 2]
    assert described["arguments"]["part"]["arguments"] == {"size": 3, "scale": 2.0}
    assert json.loads(json.dumps(described)) == described
    with pytest.raises(TypeError, match="Tensor cannot be saved"):
        describe(torch.ones(1))

    class Child(Outer):
        def __init__(self, data, width):
            super().__init__(data, Inner(width))

    assert not hasattr(Child("the data", 4), "arguments")  # the parent's arguments are not the child's


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "torch.nn.Linear",
        "hybridrec.saving.Path",
        "hybridrec.saving.load_method",
        "hybridrec.evaluation.protocol.Protocol",
        "hybridrec.no_such.Thing",
        "hybridrec.methods.lightgcn.NoSuch",
        "hybridrec..os.system",
        "hybridrecevil.Thing",
        ".LightGCN",
        "",
        None,
        7,
    ],
)
def test_only_configured_classes_of_hybridrec_are_built(path):
    with pytest.raises(ArtifactError):
        find_class(path)
    with pytest.raises(ArtifactError):
        build({"class": path, "arguments": {}})


def test_a_wrapped_constructor_of_another_library_is_not_ours(monkeypatch):
    """Constructors wrapped by others (as diffusers' configuration does) are no licence to be built."""
    import functools

    class Foreign:
        @functools.wraps(nn.Module.__init__)
        def __init__(self):
            raise AssertionError("built")

    monkeypatch.setattr("hybridrec.methods.lightgcn.Foreign", Foreign, raising=False)
    with pytest.raises(ArtifactError, match="not a @configured class"):
        build({"class": "hybridrec.methods.lightgcn.Foreign", "arguments": {}})


def test_saved_by_another_version(saved):
    folder = saved[1]
    config = json.loads((folder / CONFIG).read_text())
    config["arguments"]["spice"] = 1
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=r"does not take the saved arguments.*spice"):
        load_method(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_missing_empty_and_cut_files_are_named(saved, name):
    folder = saved[1]
    whole = (folder / name).read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"\x80\x04\x95" + whole, b"\xff" * 64):
        (folder / name).write_bytes(damage)
        with pytest.raises(ArtifactError, match=name):
            load_method(folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_method(folder)


def leaves(x, path=()):
    """Every place in a nest of mappings and lists."""
    yield path
    for key, value in x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ():
        yield from leaves(value, (*path, key))


def test_any_altered_entry_of_the_configuration_is_refused_or_harmless(saved):
    """Each entry replaced by values of every other kind: a method that scores, or an ArtifactError."""
    method, folder = saved
    config = json.loads((folder / CONFIG).read_text())
    tried = refused = 0
    for path in leaves(config):
        for value in (None, -1, 0, 10**30, 1.5, "x", [], {}, [["a"]], {"class": "os.system", "arguments": {}}, float("nan")):
            changed = copy.deepcopy(config)
            place = changed
            if not path:
                changed = value
            else:
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = value
            (folder / CONFIG).write_text(json.dumps(changed))
            tried += 1
            try:
                loaded, _ = load_method(folder)
            except ArtifactError:
                refused += 1
            else:
                assert isinstance(loaded, type(method))
    assert refused > tried / 2


def test_state_of_another_shape_or_name_is_refused(saved):
    method, folder = saved
    state = {name: x.clone() for name, x in method.state_dict().items()}
    with pytest.raises(ArtifactError, match=r"missing \['nodes.weight'\]"):
        load_state(method, {k: v for k, v in state.items() if k != "nodes.weight"}, "here")
    with pytest.raises(ArtifactError, match=r"unexpected \['more'\]"):
        load_state(method, {**state, "more": torch.ones(1)}, "here")
    save_file({**state, "nodes.weight": torch.ones(3, 8)}, folder / WEIGHTS)
    with pytest.raises(ArtifactError, match=r"nodes.weight has shape \(3, 8\), wanted \(100, 8\)"):
        load_method(folder)


def test_buffers_take_their_saved_shape():
    class Solved(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.empty(0))
            self.inner = NodeTable({"user": 2}, 3)

    solved, fresh = Solved(), Solved()
    solved.weight = torch.arange(6.0).view(2, 3)
    load_state(fresh, solved.state_dict())
    assert torch.equal(fresh.weight, solved.weight)
    assert torch.equal(fresh.inner.weight, solved.inner.weight)
