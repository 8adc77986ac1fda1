"""What loading costs in memory, measured in a process of its own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from bench_load import measure


@pytest.mark.slow
@pytest.mark.parametrize("text", [False, True])
def test_twenty_million_rows_load_in_three_times_their_columns(text):
    found = measure(text=text)
    assert 15_000_000 < found["train"] < 17_000_000
    assert found["times_columns"] <= 3
