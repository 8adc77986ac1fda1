"""What an evaluation found: means, the value of every user, and the record of how they came about."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridrec.errors import ArtifactError
from hybridrec.saving import make_folder, read_json


@dataclass
class Result:
    """Metrics, what they are means of, and the passport.

    Shapes: ``users`` (n,) positions and ``ids`` (n,) of the judged users; each of ``per_user`` (n,) float64;
    ``lists`` (n, K) positions of the items named, -1 where a list ends (empty in a result read from disk).
    """

    metrics: dict[str, float]
    users: Tensor
    ids: np.ndarray
    per_user: dict[str, Tensor]
    lists: Tensor
    slices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    passport: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write ``<path>.parquet``, the value of every user, then ``<path>.json``, the passport, which marks it complete."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        make_folder(path.parent)
        columns = {"user": self.users.numpy(), "id": self.ids, **{name: x.numpy() for name, x in self.per_user.items()}}
        pq.write_table(pa.table(columns), f"{path}.parquet", compression="zstd")
        part = Path(f"{path}.json.part")
        part.write_text(json.dumps(self.passport, indent=2, allow_nan=False), encoding="utf-8")
        part.replace(f"{path}.json")

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """What ``save`` wrote. Raises ArtifactError naming the file that is missing or broken."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        record = read_json(Path(f"{path}.json"))
        try:
            table = pq.read_table(f"{path}.parquet")
            values = {name: torch.tensor(table[name].to_numpy()) for name in table.column_names if "@" in name}
            users, ids = torch.tensor(table["user"].to_numpy()), np.asarray(table["id"].to_pylist())
            return cls(record["metrics"], users, ids, values, torch.empty(len(users), 0).long(), record["slices"], record)
        except (OSError, pa.ArrowException, KeyError, TypeError) as e:
            raise ArtifactError(f"{path}.parquet with {path}.json is not a saved result ({type(e).__name__}: {e})") from e

    def __str__(self) -> str:
        cuts = sorted({int(name.rpartition("@")[2]) for name in self.metrics})
        names = list(dict.fromkeys(name.rpartition("@")[0] for name in self.metrics))
        lines = [" " * 12 + "".join(f"{'@' + str(k):>10}" for k in cuts)]
        lines += [f"{name:<12}" + "".join(f"{self.metrics[f'{name}@{k}']:>10.4f}" for k in cuts) for name in names]
        about = self.passport
        if about:
            lines.append(
                f"{about['method']['class'].rpartition('.')[2]} on {about['data']['name'] or 'unnamed data'} {about['part']}, "
                f"protocol {about['protocol']['name']}: {about['judged']['users']:,} users x "
                f"{about['judged']['candidates']:,} items in {about['evaluation']['seconds']:.2f} s"
            )
        return "\n".join(lines)
