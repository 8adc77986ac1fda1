"""Item vectors tied to features, by hand and on the planted data; and the decayed sum over rows."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories
from hybridrec.data.dataset import Feature
from hybridrec.encoders.sequence import Layout, decayed
from hybridrec.encoders.tied import TiedItems
from hybridrec.errors import DataError


@pytest.fixture
def data(planted):
    torch.manual_seed(1)
    values, known = torch.randn(40, 6) + 1, torch.arange(40) != 7
    return replace(planted, features={"item": {"text": Feature(values * known.unsqueeze(1), known)}})


def test_at_the_start_cosines_are_those_of_the_centred_features(data):
    items = TiedItems(data, dim=6, modality="text", text_dim=6)
    with torch.no_grad():
        items.free.zero_()
    feature = data.features["item"]["text"]
    values = feature.values[feature.known]
    unit = F.normalize(values - values.mean(0), dim=1)
    found = items()[feature.known]
    torch.testing.assert_close(found @ found.T, unit @ unit.T, atol=1e-5, rtol=1e-4)
    assert (items()[7] == 0).all()  # neither text nor interactions
    torch.testing.assert_close(items.of_text(values), found, atol=1e-6, rtol=1e-5)


def test_a_cold_item_is_its_text_and_a_warm_one_is_not(data):
    items = TiedItems(data, dim=5, modality="text", text_dim=4)
    cold = torch.arange(40) < 3
    feature = data.features["item"]["text"]
    torch.testing.assert_close(items(cold)[:3], items.of_text(feature.values[:3]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(items(cold)[3:], items()[3:])


def test_without_the_modality(data, planted):
    with pytest.raises(DataError, match="no 'text' features of items"):
        TiedItems(planted, dim=5, modality="text", text_dim=4)
    items = TiedItems(planted, dim=5, modality=None, text_dim=4)
    torch.testing.assert_close(items(), F.normalize(items.free, dim=1))
    with pytest.raises(DataError, match="without text"):
        items.of_text(torch.ones(1, 6))


def test_the_decayed_sum_is_the_recurrence():
    history = Histories.lists([[0] * 3, [], [0] * 5, [0], [0] * 3])
    torch.manual_seed(0)
    x = torch.randn(12, 4, dtype=torch.float64)
    wanted, start = [], 0
    for n in history.lengths.tolist():
        m = torch.zeros(4, dtype=torch.float64)
        for t in range(n):
            m = 0.7 * m + x[start + t]
            wanted.append(m)
        start += n
    torch.testing.assert_close(decayed(Layout(history), x, torch.tensor(0.7, dtype=torch.float64)), torch.stack(wanted))
    assert decayed(Layout(Histories.lists([[]])), x[:0], torch.tensor(0.7)).shape == (0, 4)
