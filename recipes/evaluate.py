"""Evaluate a saved method or Recommender on a data set: a table, and the passport with the value of every user.

python recipes/evaluate.py runs/align --data ml-100k
python recipes/evaluate.py runs/align --data ml-100k --candidates cold --ks 5 10 20 50
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from arguments import parse, run

import hybridrec as hr
from hybridrec.errors import ArtifactError, DataError
from hybridrec.evaluation import PROTOCOLS
from hybridrec.saving import CONFIG, load_method

CANDIDATES: dict[str, Callable[[hr.Dataset, str], torch.Tensor | None]] = {
    "all": lambda data, part: None,
    "cold": lambda data, part: data.cold(part),
}


@dataclass
class Evaluate:
    """What to judge, and how."""

    method: str = field(default="runs/align", metadata={"help": "folder of a saved method; folder or Hub id of a Recommender"})
    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set it was trained on"})
    part: str = field(default="test", metadata={"help": "rows to judge by: test, valid or train"})
    ks: list[int] = field(default_factory=lambda: [10, 20], metadata={"help": "cut-offs"})
    protocol: str = field(default="full", metadata={"help": f"conventions: {', '.join(PROTOCOLS)}"})
    candidates: str = field(default="all", metadata={"help": "items ranked: all, or cold, those without earlier rows"})
    device: str | None = field(default=None, metadata={"help": "where to compute: cpu, cuda; a GPU where there is one if none"})
    out: str = field(default="runs/evaluate", metadata={"help": "folder for the passport (.json) and users' values (.parquet)"})


def main() -> None:
    """Print the table and write the passport."""
    args = parse(Evaluate, __doc__, positional="method")
    for name, choices in (("protocol", PROTOCOLS), ("candidates", CANDIDATES)):
        if getattr(args, name) not in choices:
            raise DataError(f"--{name} {getattr(args, name)!r} is not one of {', '.join(choices)}")
    data = hr.load(args.data)
    method, training = opened(args.method, data)
    try:
        method = method.to(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError, NotImplementedError) as e:  # none of that name, none here, or none to compute on
        raise DataError(f"--device {args.device}: {str(e).splitlines()[0]:.200}") from e
    candidates = CANDIDATES[args.candidates](data, args.part)
    result = hr.evaluate(method, data, args.part, ks=args.ks, protocol=PROTOCOLS[args.protocol], candidates=candidates)
    if training:
        result.passport |= {"training": training, "seed": training["seed"]}
    out = Path(args.out) / f"{type(method).__name__}-{data.name}-{args.part}-{args.protocol}-{args.candidates}"
    result.save(out)
    print(result)
    print(f"passport: {out}.json")


def opened(path: str, data: hr.Dataset) -> tuple[Any, dict[str, Any] | None]:
    """The method at ``path`` and the record of its training. Raises ArtifactError where it was made for other data."""
    if (Path(path) / CONFIG).exists():
        method, schema = load_method(path)
        if schema.counts != data.counts or schema.goal != data.goal:
            raise ArtifactError(f"{path} was made for {schema.counts}, goal {schema.goal!r}; {data.name} has {data.counts}")
        return method, None
    recommender = hr.Recommender.from_pretrained(path)
    trained_on = recommender.about["data"]
    if trained_on["fingerprint"] != data.fingerprint:
        raise ArtifactError(
            f"{path} was trained on {trained_on['name']} with fingerprint {trained_on['fingerprint']}, but {data.name} has "
            f"{data.fingerprint}: other rows or another split, of which it may have seen the held-out ones"
        )
    return recommender.method, recommender.about["training"]


if __name__ == "__main__":
    run(main)
