"""S3-Rec, term by term, against its formulas computed row by row; and its two stages."""

from dataclasses import replace

import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from conftest import planted

from hybridrec.data.batches import Histories, Rows
from hybridrec.errors import DataError
from hybridrec.methods import S3Rec
from hybridrec.objectives import FullSoftmax
from hybridrec.saving import load_method, save_method
from hybridrec.training import fit
from hybridrec.views.segment import Segments

CELLS = [["x", "even"], ["odd"], ["even"], [], ["y", "even"], ["odd"], ["even"], ["odd"], [], ["odd"], ["even", "y"], ["odd"]]


@pytest.fixture(scope="module")
def data():
    bare = planted(users=20, items=12, each=6)
    return replace(bare, tables={"item": pa.table({"item_id": bare.ids["item"].values, "categories": CELLS})})


def built(data, **arguments):
    torch.manual_seed(0)
    small = {"dim": 8, "depth": 1, "window": 6, "dropout": 0.0, "vocabulary": 7, "objective": FullSoftmax()}
    return S3Rec(data, **{**small, **arguments})


ROWS = [[3, 1, 2], [4, 8], [7, 5, 0, 6]]


def batch():
    return Rows(torch.tensor([0, 3, 5]), Histories.lists(ROWS))


def lists(h):
    return [h.item[a:b].tolist() for a, b in zip(h.offset[:-1], h.offset[1:], strict=True)]


def both_ways(method, row):
    """What is known at each entry of a row read alone, from both sides, with the start before it."""
    reader = method.reader
    read = Histories.lists([[reader.start, *row]])
    with method.encoder.both_ways():
        return reader.encoder(read, reader.table[read.item])[1:]


def test_pre_training_equals_its_formulas(data):
    method = built(data, associated=0.3, item=1.1, attribute=0.9, segment=0.7, mask=0.5)
    mask = method.reader.mask
    method.beginning = lambda history: history
    torn = Segments(
        *(Histories.lists(x) for x in ([[3, mask, 2], [mask, 8], [7, mask, mask, 6]],
                                       [[mask, 1, mask], [4, mask], [mask, 5, 0, mask]],
                                       [[mask, 8, mask], [2, mask], [mask, 1, 2, mask]]))
    )  # fmt: skip
    method.torn = lambda history: torn
    torch.manual_seed(3)
    terms = method(batch())
    torch.manual_seed(3)
    hidden = (torch.rand(9) < 0.5).split([3, 2, 4])
    assert not all(h.all() for h in hidden)
    item = associated = attribute = segment = 0
    numbers = {"even": 0, "odd": 1, "y": 2, "x": 3}
    for b, row in enumerate(ROWS):
        dark = [bool(h) or t == len(row) - 1 for t, h in enumerate(hidden[b])]
        z = both_ways(method, [mask if d else i for i, d in zip(row, dark, strict=True)])
        for t, (i, d) in enumerate(zip(row, dark, strict=True)):
            has = torch.tensor([float(n in [numbers[c] for c in CELLS[i]]) for n in range(4)])
            ask = method.of_attribute if d else method.of_associated
            logit = method.table[:4] @ ask(z[t]) + method.known.odds
            told = F.binary_cross_entropy_with_logits(logit, has, reduction="sum") if CELLS[i] else 0
            if d:
                attribute = attribute + told
                item = item + F.cross_entropy(method.reader.items @ method.of_item(z[t]), torch.tensor(i))
            else:
                associated = associated + told
        context, own, other = (both_ways(method, lists(x)[b])[-1] for x in torn)
        asked = method.of_segment(context)
        segment = segment - torch.log_softmax(torch.stack([asked @ own, asked @ other]), 0)[0]
    each = 1 / (3 * method.length)
    expected = {"item": 1.1 * item, "attribute": 0.9 * attribute, "associated": 0.3 * associated, "segment": 0.7 * segment}
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value * each, msg=name)


def test_afterwards_it_foretells_next_items_causally(data):
    method = built(data, pretrain=1)
    for _ in range(2):
        method.refresh()
    (found,) = method(batch()).values()
    total = 0
    for row in ROWS:
        for t, i in enumerate(row):
            read = Histories.lists([[method.reader.start, *row[:t]]])
            z = method.reader.encoder(read, method.reader.table[read.item])[-1]
            total = total + F.cross_entropy(method.reader.items @ z, torch.tensor(i))
    torch.testing.assert_close(found, total / (3 * method.length))


def test_without_attributes_items_and_segments_remain(data):
    method = built(replace(data, tables={}), attributes=None)
    assert method(batch()).keys() == {"item", "segment"}
    assert not any("attribute" in name or "associated" in name for name, _ in method.named_parameters())
    with pytest.raises(DataError, match="no table of items"):
        built(replace(data, tables={}))


def test_a_batch_whose_items_have_no_attribute_has_nothing_to_tell(data):
    terms = built(data)(Rows(torch.tensor([0]), Histories.lists([[3, 8]])))
    assert terms["attribute"] == 0 and terms["associated"] == 0 and terms["item"] > 0


def test_nothing_is_judged_before_the_next_item_is_trained_on(data):
    asked = []
    method = built(data, pretrain=3)
    record = fit(
        method, data, epochs=6, every=1, patience=2, progress=False, validate=lambda m: asked.append(m._epochs) or -len(asked)
    )
    assert asked == [4, 5, 6] and record.best_epoch == 4 and record.epochs == 6  # patience counts from there on
    terms = [set(line) - {"epoch", "valid"} for line in record.history]
    assert terms == 3 * [{"item", "segment", "associated", "attribute"}] + 3 * [{"next"}]


def test_it_is_loaded_without_its_table(data, tmp_path):
    method = built(data).eval()
    save_method(method, tmp_path, data.schema)
    loaded, _ = load_method(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded.score(batch()), method.score(batch()))
