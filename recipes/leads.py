"""A table of rows over seeds, and how far one of them is ahead of each other."""

from __future__ import annotations

from pathlib import Path

import torch
from arguments import write_json

from hybridrec.evaluation.result import Result
from hybridrec.evaluation.significance import Interval, differences


def table(runs: list[dict[str, Result]], judged: str) -> str:
    """Means over the seeds, and how far row ``judged`` is ahead, with the 95% interval of each seed."""
    first = next(iter(runs[0].values())).passport
    lines = [
        f"{first['judged']['candidates']:,} of {first['data']['items']:,} items ranked for {first['judged']['users']:,} users, "
        f"split {first['split']['name']}; {len(runs)} seed(s)",
        f"{'':<28}{'recall@20':>10}{'ndcg@20':>10}   ndcg@20 of {judged}, less this [95% of paired bootstrap]",
    ]
    for name in runs[0]:
        mean = {m: sum(run[name].metrics[m] for run in runs) / len(runs) for m in ("recall@20", "ndcg@20")}
        ahead = "  ".join(f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]" for d in lead(runs, name, judged))
        lines.append(f"{name:<28}{mean['recall@20']:>10.4f}{mean['ndcg@20']:>10.4f}   {ahead}")
    return "\n".join(lines)


def lead(runs: list[dict[str, Result]], name: str, judged: str) -> list[Interval]:
    """For each seed, the mean over users of the NDCG@20 of row ``judged`` less that of row ``name``; none for its own."""
    if name == judged or judged not in runs[0]:
        return []
    pairs = (torch.stack([run[name].per_user["ndcg@20"], run[judged].per_user["ndcg@20"]], 1) for run in runs)
    return [d.mean for pair in pairs for d in differences(pair, 0) if d is not None]


def write(path: Path, runs: list[dict[str, Result]], judged: str) -> None:
    """The table as data: every row of every seed with its passport."""
    rows = [
        {"row": name, "lead": [vars(d) for d in lead([run], name, judged)], **result.passport}
        for run in runs
        for name, result in run.items()
    ]
    write_json(path, rows)
