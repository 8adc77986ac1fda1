"""Ask a saved Recommender: a prompt, a file of prompts, a user, a history, any mix of them; or prompts typed line by line.

python recipes/query.py "a slow-burning crime drama from the seventies"
python recipes/query.py "a slow-burning crime drama from the seventies" --steps 5 --guidance 2
python recipes/query.py --history 50 181 --prompt "but for children"
python recipes/query.py --file prompts.txt --k 5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arguments import parse, read_text, run
from transformers.utils import logging

import hybridrec as hr
from hybridrec.errors import QueryError
from hybridrec.pipeline import Faiss

DEFAULT = "runs/align"


@dataclass
class Arguments:
    """What to ask, and of which artifact."""

    prompt: str | None = field(default=None, metadata={"help": "what is wanted, in words"})
    file: str | None = field(default=None, metadata={"help": "a text file with one prompt a line"})
    user: str | None = field(default=None, metadata={"help": "the id of a known user"})
    history: list[str] | None = field(default=None, metadata={"help": "ids of items chosen so far, oldest first"})
    k: int = field(default=10, metadata={"help": "how many items are named"})
    weight: float = field(default=1.0, metadata={"help": "weight of a prompt beside a user or a history"})
    steps: int | None = field(default=None, metadata={"help": "reverse steps of a method that denoises"})
    guidance: float | None = field(default=None, metadata={"help": "how far a prompt pulls what such a method makes of it"})
    exclude_seen: bool = field(default=True, metadata={"help": "leave out what the user or the history has"})
    approximate: bool = field(default=False, metadata={"help": "search by faiss; its recall is measured first"})
    artifact: str = field(default=DEFAULT, metadata={"help": "folder or Hub id of the saved Recommender"})
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit of a Hub id"})


def main() -> None:
    """Print ranked titles with scores."""
    asked = parse(Arguments, __doc__, positional="prompt")
    if asked.artifact == DEFAULT and not Path(DEFAULT).exists():
        raise QueryError(f"no artifact at {DEFAULT}: train one with `make align`, or name one with --artifact")
    logging.disable_progress_bar()
    search = Faiss() if asked.approximate else None
    recommender = hr.Recommender.from_pretrained(asked.artifact, revision=asked.revision, search=search)
    sources: dict[str, Any] = {
        "user": None if asked.user is None else _as_id(asked.user, recommender.users and recommender.users[0]),
        "history": None if asked.history is None else [_as_id(x, recommender.items.ids) for x in asked.history],
    }
    for prompt in _prompts(asked):
        try:
            found = recommender.recommend(
                **sources,
                prompt=prompt,
                k=asked.k,
                exclude_seen=asked.exclude_seen,
                weights={"prompt": asked.weight},
                steps=asked.steps,
                guidance=asked.guidance,
            )
        except QueryError as e:
            if not _interactive(asked):
                raise
            print(f"error: {e}", file=sys.stderr)
            continue
        if search is not None and prompt is not None and search.recall == search.recall:  # an index was built
            print(f"faiss: recall@10 against exact search {search.recall:.4f}", file=sys.stderr)
        if asked.file is not None or _interactive(asked):
            print(f"\n{prompt}")
        for rank, item in enumerate(found, 1):
            print(f"{rank:3d}  {item.score:8.4f}  {item.title or item.item}", flush=True)


def _interactive(asked: Arguments) -> bool:
    return asked.prompt is None and asked.file is None and asked.user is None and asked.history is None


def _prompts(asked: Arguments) -> Iterator[str | None]:
    """The prompts to answer, or None once where there is only a user or a history."""
    if asked.prompt is not None and asked.file is not None:
        raise QueryError("give a prompt or a file of prompts, not both")
    if asked.file is not None:
        yield from filter(str.strip, read_text(asked.file).splitlines())
    elif _interactive(asked):
        print("What are you looking for? One line a request; end with Ctrl-D.", file=sys.stderr)
        yield from (line.strip() for line in sys.stdin if line.strip())
    else:
        yield asked.prompt


def _as_id(text: str, ids: Any) -> Any:
    """What was typed, as the integer that it is where ids are integers."""
    integers = ids is not None and ids.values.dtype.kind in "iu"
    return int(text) if integers and text.lstrip("-").isdigit() else text


if __name__ == "__main__":
    run(main)
