"""Planted data with texts: the kinds of item lie apart; item 0 has none."""

from dataclasses import replace

import pytest
import torch

from hybridrec.data.dataset import Dataset, Feature


@pytest.fixture
def featured(planted) -> Dataset:
    torch.manual_seed(0)
    items = planted.counts["item"]
    kind = torch.arange(items) % 2
    values = torch.randn(items, 6) * 0.5 + torch.stack([1 - kind, kind, *[torch.zeros(items)] * 4], 1)
    known = torch.arange(items) > 0
    return replace(planted, features={"item": {"text": Feature(values * known.unsqueeze(1), known)}})
