"""The model card of a saved Recommender: front matter that the Hub renders, what it is, how it was judged, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridrec.cards import front

_BODY = """# {title}

A recommender: {method}{text}, saved by hybridrec {version}.

## Data

{data}

## Results

{results}

## Use

```python
import hybridrec as hr

recommender = hr.Recommender.from_pretrained("{repo}")
{calls}
```

## Files

{files}

Only JSON, parquet, safetensors and text: nothing in this folder is executed. `model_index.json` holds the size and sha256 of
every file, which are checked on loading.{privacy}
"""


def card(index: Mapping[str, Any], example: list[Any], repo: str) -> str:
    """The text of ``README.md`` for an artifact with this index. ``example`` items and ``repo`` appear in how to load it."""
    from huggingface_hub import ModelCard

    about, method = index["about"], index["method"][1]
    name = about["data"].get("name") or "unnamed data"
    metrics: Mapping[str, float] = about.get("metrics") or {}
    passport: Mapping[str, Any] = about.get("passport") or {}
    title = f"{method} on {name}"
    tags = [*(["text", "lora"] if about["text"] else []), method.lower()]
    head = front(title, tags, name, metrics, passport.get("part", "test"))
    calls = [
        f"for found in recommender.recommend(history={example!r}, k=10):",
        "    print(found.title or found.item, found.score)",
    ]
    if about["text"]:
        calls.insert(0, 'recommender.recommend(prompt="something like what I liked, but shorter", k=10)')
    body = _BODY.format(
        title=title,
        method=f"`{method}` with {_arguments(about['arguments'])}",
        text=" and a text encoder, so that it answers prompts and takes in new items by their text" if about["text"] else "",
        version=index["_hybridrec_version"],
        data=_data(about),
        results=_table(metrics, passport) if metrics else "Not evaluated.",
        repo=repo,
        calls="\n".join(calls),
        files="\n".join(f"- `{file}` ({entry['size']:,} bytes)" for file, entry in index["files"].items()),
        privacy="" if about["users"] else " Users' ids and histories were left out; ask by history.",
    )
    return str(ModelCard(f"{head}\n{body}"))


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={value!r}`" for name, value in arguments.items()) or "no arguments"


def _data(about: Mapping[str, Any]) -> str:
    data = about["data"]
    counts = ", ".join(f"{n:,} {entity}s" for entity, n in data["counts"].items())
    split = f"; split: {data['split']['name']} {data['split']['arguments'] or ''}".rstrip() if data.get("split") else ""
    rows = f"{data['train']:,} training rows"
    return f"{data.get('name') or 'Unnamed'}: {counts}, {rows}{split}; fingerprint `{data['fingerprint']}`."


def _table(metrics: Mapping[str, float], passport: Mapping[str, Any]) -> str:
    part = passport.get("part", "test")
    lines = [f"| metric | {part} |", "|---|---|", *(f"| {name} | {value:.4f} |" for name, value in metrics.items())]
    if passport:
        protocol, judged = passport["protocol"], passport["judged"]
        lines += [
            "",
            f"Protocol `{protocol['name']}`: {judged['candidates']:,} items ranked for {judged['users']:,} users, "
            f"{' and '.join(protocol['mask']) or 'nothing'} masked. The whole record is in `model_index.json`.",
        ]
    return "\n".join(lines)
