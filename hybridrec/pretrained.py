"""What every @configured method can do by itself: be saved, loaded without its data, pushed to the Hub and fetched from it.

A method alone knows positions, not ids, titles or users: ``hybridrec.Recommender`` carries those. The folder is that of
``hybridrec.saving`` with a model card.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import hybridrec
from hybridrec import hub
from hybridrec.cards import front
from hybridrec.errors import ArtifactError
from hybridrec.saving import CONFIG, WEIGHTS, load_method, save_method

CARD = "README.md"

_BODY = """
# {title}

`{method}` of hybridrec {version}, with {arguments}. Built on {counts}.

```python
import hybridrec as hr

method = hr.{method}.from_pretrained("{repo}")
```

It scores positions of items: `hybridrec.Recommender` is what answers with ids and titles. Nothing in this folder is executed.
"""


def save(method: Any, folder: str | Path, metrics: Any = None, repo: str | None = None) -> Path:
    """Write ``method`` to ``folder``, whole or not at all, in place of an older one.

    Raises ArtifactError where the folder holds anything else, or the method was not built on a data set.
    """
    folder = Path(folder).resolve()
    schema = getattr(method, "schema", None)
    if schema is None:
        raise ArtifactError(f"{type(method).__name__} was not built on a data set, so it cannot be saved by itself")
    if folder.is_file() or (folder.is_dir() and {p.name for p in folder.iterdir()} - {CONFIG, WEIGHTS, CARD}):
        raise ArtifactError(f"{folder} holds something else than a saved method; choose a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    fresh, old = (folder.with_name(f".{folder.name}.{mark}.{state}") for state in ("new", "old"))
    try:
        save_method(method, fresh, schema)
        (fresh / CARD).write_text(_card(method, schema, metrics, repo or folder.name), encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def load(
    cls: type,
    name: str | Path,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Any:
    """The method saved in the folder ``name``, or as the Hub model ``name``. Raises ArtifactError where it is no ``cls``."""
    folder = hub.fetch(name, [CONFIG, WEIGHTS, CARD], revision, token, cache_dir, local_files_only)
    method, _ = load_method(folder)
    if not isinstance(method, cls):
        raise ArtifactError(f"{name} holds a {type(method).__name__}, no {cls.__name__}; ask its own class to load it")
    return method


def push(
    method: Any,
    repo_id: str,
    metrics: Any = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
) -> str:
    """Upload ``method`` as one commit to the Hub model ``repo_id``, made if need be; returns the commit's address."""
    write = partial(save, method, metrics=metrics, repo=repo_id)
    return hub.push(repo_id, write, private, token, revision, f"Upload {type(method).__name__} of hybridrec")


def _card(method: Any, schema: Mapping[str, Any], metrics: Any, repo: str) -> str:
    """The model card; ``metrics`` is what ``evaluate`` returned, or a mapping of names to values."""
    name, passport = type(method).__name__, getattr(metrics, "passport", None) or {}
    data = passport.get("data", {}).get("name") or "unnamed data"
    values = {k: float(v) for k, v in dict(getattr(metrics, "metrics", metrics) or {}).items()}
    body = _BODY.format(
        title=f"{name} on {data}" if passport else name,
        method=name,
        version=hybridrec.__version__,
        arguments=", ".join(f"`{k}={v!r}`" for k, v in method.arguments.items()) or "no arguments",
        counts=", ".join(f"{n:,} {entity}s" for entity, n in schema["counts"].items()),
        repo=repo,
    )
    if values:
        body += "\n| metric | value |\n|---|---|\n" + "".join(f"| {k} | {v:.4f} |\n" for k, v in values.items())
    return front(f"{name} on {data}", [name.lower()], data, values, passport.get("part", "test")) + body
