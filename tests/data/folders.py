"""Small folders of data, from lists by column."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def write_file(folder, stem, columns, kind="parquet"):
    """One file of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.{kind}"
    if kind == "parquet":
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, row_group_size=7)
        return path
    if kind == "arrow":
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        return path
    names, rows = list(columns), list(zip(*columns.values(), strict=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        if kind == "jsonl":
            file.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        else:
            csv.writer(file, delimiter="\t" if kind == "tsv" else ",").writerows([names, *rows])
    return path


def interactions(users=6, items=8, each=5, seed=0, **more):
    """Distinct pairs of users 1.. and items 10.., with times; ``more`` adds columns."""
    random = np.random.default_rng(seed)
    user = [u for u in range(1, users + 1) for _ in range(each)]
    item = [int(i) for _ in range(users) for i in random.choice(np.arange(10, 10 + items), each, replace=False)]
    return {"user_id": user, "item_id": item, "timestamp": list(range(1000, 1000 + len(user))), **more}


def divided(users=6, each=5):
    """A ``split`` column for ``interactions``: of each user's rows the last is test, the one before valid."""
    return [*(["train"] * (each - 2)), "valid", "test"] * users


def pairs(data, relation):
    """The links of a relation as ids."""
    source, target = data.ids[relation.source], data.ids[relation.target]
    return list(zip(source[relation.index[0]], target[relation.index[1]], strict=True))
