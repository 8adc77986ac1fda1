"""Every fuzz target, a few inputs each; thousands in the slow suite. `python tests/fuzz.py` prints the tally."""

from __future__ import annotations

import fuzz
import fuzz_artifacts
import fuzz_data
import fuzz_recipes
import fuzz_training
import pytest

NAMES = sorted({**fuzz_data.TARGETS, **fuzz_artifacts.TARGETS, **fuzz_training.TARGETS, **fuzz_recipes.TARGETS})


def assert_nothing_unexpected(name: str, examples: int, start: int) -> None:
    tally = fuzz.run(name, examples, start)
    assert not tally.unexpected, "\n".join(f"{place}\n{told}" for place, told in tally.unexpected.items())
    assert tally.outcomes[fuzz.ACCEPTED] + tally.outcomes[fuzz.REFUSED] >= examples


@pytest.mark.parametrize("name", NAMES)
def test_a_few_inputs(name):
    assert_nothing_unexpected(name, 12, 0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_many_inputs(name):
    assert_nothing_unexpected(name, 2000, 1)


def test_the_tally_counts_what_is_unexpected(tmp_path):
    """A target that fails is told of, and one that hangs is stopped."""

    def fails(case, folder):
        raise KeyError(case)

    def hangs(case, folder):
        while True:
            pass

    for check, place, seconds in ((fails, "KeyError at test_fuzz.py", 60), (hangs, "Slow at", 1)):
        tally = fuzz.Tally("x")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fuzz, "SECONDS", seconds)
            fuzz.one(check, "a case", tally)
        assert [p for p in tally.unexpected if p.startswith(place)] and "1 unexpected" in str(tally)
