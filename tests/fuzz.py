"""Inputs that nobody would write, and what becomes of them: an error raised on purpose, or success, and nothing else.

    python tests/fuzz.py --examples 1000          # every target, and a tally
    python tests/fuzz.py tables bytes --seed 3

A target draws a case (Hypothesis) and tries it. Unexpected are: another exception, a warning that is not a DataWarning, more
than SECONDS of computing on one case, a result that is not finite, a folder left half-written. --out keeps the tally.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "data")]

from tallies import keep  # noqa: E402

from hybridrec.errors import DataWarning, HybridrecError  # noqa: E402

SECONDS = 60
ACCEPTED, REFUSED = "accepted", "refused"


class Slow(Exception):
    """A case that took too long."""


class Wrong(Exception):
    """A result that should not be: not finite, half-written, an error of several lines."""


@dataclass
class Tally:
    """How many inputs of one target were tried, and what became of them."""

    name: str
    outcomes: Counter = field(default_factory=Counter)
    unexpected: dict[str, str] = field(default_factory=dict)  # one example and traceback a place

    @property
    def wrong(self) -> int:
        """How many outcomes were unexpected."""
        return sum(n for name, n in self.outcomes.items() if name not in (ACCEPTED, REFUSED))

    def as_dict(self) -> dict[str, Any]:
        """The numbers."""
        counts = {name: self.outcomes[name] for name in (ACCEPTED, REFUSED)}
        return {"target": self.name, "tried": self.outcomes.total(), **counts, "unexpected": self.wrong}

    def __str__(self) -> str:
        return (
            f"{self.name:12s} {sum(self.outcomes.values()):8,} tried {self.outcomes[ACCEPTED]:8,} accepted "
            f"{self.outcomes[REFUSED]:8,} refused {self.wrong:6,} unexpected"
        )


TARGETS: dict[str, tuple[Any, Callable[[Any, Path], None]]] = {}


def target(strategy: Any) -> Callable[[Callable[[Any, Path], None]], Callable[[Any, Path], None]]:
    """Decorator: what tries a case drawn from ``strategy``, given an empty folder."""

    def note(check: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
        TARGETS[check.__name__] = (strategy, check)
        return check

    return note


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise Slow after so many seconds of computing, or ten times as many by the clock: other work may have the machine."""
    computed, begun = time.process_time(), time.monotonic()

    def stop(*_: Any) -> None:
        if time.process_time() - computed > seconds or time.monotonic() - begun > 10 * seconds:
            raise Slow(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)  # again, should a library catch it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def one(check: Callable[[Any, Path], None], case: Any, tally: Tally) -> None:
    """Try one case and count what became of it."""
    with tempfile.TemporaryDirectory(prefix="hybridrec-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            with limited(SECONDS):
                check(case, Path(folder))
            tally.outcomes[ACCEPTED] += 1
        except HybridrecError as e:
            tally.outcomes[REFUSED] += 1
            if len(str(e)) > 4000 or not str(e).strip():
                tally.outcomes["wordy"] += 1
                tally.unexpected.setdefault("wordy", f"{case!r:.2000}\n{e!s:.500}")
        except SystemExit as e:
            if isinstance(e.code, str) or e.code in (None, 0, 1, 2):
                tally.outcomes[ACCEPTED if not e.code else REFUSED] += 1
            else:
                tally.outcomes["exit"] += 1
        except Exception as e:
            frames = traceback.extract_tb(e.__traceback__)
            own = [f for f in frames if "/hybridrec/" in f.filename or "/recipes/" in f.filename] or frames
            place = f"{type(e).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
            tally.outcomes[place] += 1
            tally.unexpected.setdefault(place, f"{case!r:.3000}\n" + "".join(traceback.format_exception(e))[-3000:])


def run(name: str, examples: int, start: int = 0) -> Tally:
    """Try so many cases of one target; the same ones for the same ``start``."""
    strategy, check = TARGETS[name]
    tally = Tally(name)

    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def trial(case: Any) -> None:
        one(check, case, tally)

    trial()
    return tally


def mutate(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """``data`` with bytes overwritten, put in, cut out, doubled or cut off at shares of its length."""
    for kind, share, more in changes:
        at = int(share * len(data))
        if kind == "write":
            data = data[:at] + more + data[at + len(more) :]
        elif kind == "insert":
            data = data[:at] + more + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + 1 + len(more) :]
        elif kind == "double":
            data = data[:at] + data[at // 2 : at] + data[at:]
        else:
            data = data[:at]
    return data


NASTY = [
    b"\xff" * 4,
    b"\x00" * 8,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"PAR1",
    b"\x80\x04\x95",
    b"{",
    b'"',
    b"\n",
    b"-1",
    b"NaN",
]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "insert", "cut", "double", "end"]),
        st.floats(0, 1),
        st.one_of(st.sampled_from(NASTY), st.binary(min_size=1, max_size=6)),
    ),
    min_size=1,
    max_size=4,
)


def main() -> None:
    """Print the tally of every target; exit 1 where anything was unexpected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="names of targets; all if none")
    parser.add_argument("--examples", type=int, default=200, help="inputs a target (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the tally there")
    args = parser.parse_args()
    import fuzz_artifacts
    import fuzz_data
    import fuzz_recipes
    import fuzz_training

    known = {**fuzz_data.TARGETS, **fuzz_artifacts.TARGETS, **fuzz_training.TARGETS, **fuzz_recipes.TARGETS}
    if unknown := sorted(set(args.targets) - set(known)):
        parser.error(f"no target {unknown}; there are {', '.join(known)}")
    tallies: list[Tally] = []
    for name in args.targets or known:
        tallies.append(run_of(name, args.examples, args.seed))
        print(tallies[-1], flush=True)
        if args.out:
            command = " ".join(["tests/fuzz.py", *args.targets, f"--examples {args.examples} --seed {args.seed}"])
            keep(args.out, command, [t.as_dict() for t in tallies])
    total = Tally("all", sum((t.outcomes for t in tallies), Counter()))
    print(total)
    for t in tallies:
        for place, told in t.unexpected.items():
            print(f"\n{t.name}: {place} ({t.outcomes[place]} times)\n{told}")
    sys.exit(1 if any(t.unexpected for t in tallies) else 0)


def run_of(name: str, examples: int, start: int) -> Tally:
    """``run`` of this module as imported, whose TARGETS the others have filled."""
    import fuzz

    return fuzz.run(name, examples, start)


if __name__ == "__main__":
    main()
