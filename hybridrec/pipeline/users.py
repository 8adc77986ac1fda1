"""The known users of an artifact: their ids and what each chose in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hybridrec.data.batches import Histories
from hybridrec.data.dataset import Ids
from hybridrec.errors import ArtifactError
from hybridrec.pipeline.items import key_of


def to_table(entity: str, ids: Ids, histories: Histories) -> pa.Table:
    """One row a user: ``<entity>_id``, ``history`` (positions in the items' table, oldest first) and ``time`` where known."""
    offset = pa.array(histories.offset.cpu().numpy().astype(np.int32))
    columns = {
        key_of(entity): pa.array(ids.values.tolist()),
        "history": pa.ListArray.from_arrays(offset, pa.array(histories.item.cpu().numpy().astype(np.int32))),
    }
    if histories.time is not None:
        columns["time"] = pa.ListArray.from_arrays(offset, pa.array(histories.time.cpu().numpy()))
    return pa.table(columns)


def from_table(entity: str, table: pa.Table, items: int, origin: Any) -> tuple[Ids, Histories]:
    """What ``to_table`` wrote. Raises ArtifactError where it is not that, or a history names an item that does not exist."""
    key = key_of(entity)
    if key not in table.column_names or "history" not in table.column_names or table.column("history").null_count:
        raise ArtifactError(f"{origin} has no whole columns {key!r} and 'history': not the users of an artifact")
    try:
        history = table.column("history").combine_chunks()
        item = torch.from_numpy(history.flatten().to_numpy().astype(np.int64))
        lengths = torch.from_numpy(history.value_lengths().to_numpy().astype(np.int64))
        time = None
        if "time" in table.column_names:
            time = torch.from_numpy(table.column("time").combine_chunks().flatten().to_numpy().astype(np.float64))
        ids = Ids(table.column(key).to_pylist())
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as e:
        raise ArtifactError(f"{origin} holds no users with histories ({type(e).__name__}: {e})") from e
    if (len(item) and not 0 <= int(item.min()) <= int(item.max()) < items) or (time is not None and len(time) != len(item)):
        raise ArtifactError(f"{origin}: a history names an item beyond the {items} of the artifact")
    return ids, Histories(torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]), item, time)
