"""Buffers of a file that make no sense: refused at loading, where torch's kernels would read past the end of a table."""

import pytest
import torch
from conftest import planted
from safetensors.torch import load_file, save_file

import hybridrec as hr
from hybridrec.bags import bags
from hybridrec.errors import ArtifactError, DataError
from hybridrec.saving import load_method, save_method

BAD = {
    "a column beyond the nodes": ("LightGCN", "graph.col", lambda x: x.index_fill(0, torch.tensor([3]), 10**8)),
    "a column before the nodes": ("LightGCN", "graph.col", lambda x: x.index_fill(0, torch.tensor([3]), -1)),
    "rows that go back": ("LightGCN", "graph.crow", lambda x: x.index_fill(0, torch.tensor([1]), int(x[-1]))),
    "rows that end elsewhere": ("LightGCN", "graph.crow", lambda x: x[:-1]),
    "an edge with one entry": ("LightGCN", "graph.edge", lambda x: x.index_fill(0, torch.tensor([0]), int(x[1]))),
    "columns of numbers with a point": ("LightGCN", "graph.col", lambda x: x.float()),
    "fewer values than columns": ("LightGCN", "graph.value", lambda x: x[:-1]),
    "a value that is no number": ("LightGCN", "graph.value", lambda x: x * torch.nan),
    "no rows": ("LightGCN", "graph.crow", lambda x: x[:0]),
    "an item beyond the weights": ("ItemKNN", "weights.item", lambda x: x.index_fill(0, torch.tensor([0]), 10**8)),
    "fewer weights than places": ("ItemKNN", "weights.value", lambda x: x[:-1]),
    "an item of nobody": ("KrylovEASE", "item", lambda x: x.index_fill(0, torch.tensor([0]), 10**8)),
    "rows of too few users": ("KrylovEASE", "offset", lambda x: x[:-1]),
}


@pytest.mark.parametrize("what", BAD)
def test_refused_at_loading(what, tmp_path):
    name, buffer, change = BAD[what]
    data = planted(users=200, items=100, each=6)  # enough items that neighbours are kept sparse
    method = getattr(hr, name)(data, **({"neighbours": 1} if name == "ItemKNN" else {}))
    if hasattr(method, "solve"):
        method.solve(data)
    save_method(method.eval(), tmp_path, data.schema)
    load_method(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert len(tensors[buffer]), sorted(tensors)
    tensors[buffer] = change(tensors[buffer]).contiguous()
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match="damaged"):
        load_method(tmp_path)


def test_weights_of_another_catalogue_are_refused_when_asked():
    table, offset = torch.eye(3), torch.tensor([0, 1, 2])
    torch.testing.assert_close(bags(torch.tensor([0, 2]), table, offset), table[[0, 2]])
    for wrong in (3, -1):
        with pytest.raises(DataError, match=f"item {wrong} "):
            bags(torch.tensor([0, wrong]), table, offset)
