"""What recipes/compare.py runs: methods with arguments from the command line, a YAML file, or a search."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from arguments import ConfigError, read_yaml

import hybridrec as hr
from hybridrec.errors import HybridrecError
from hybridrec.saving import build, describe, read_json


class PlanError(HybridrecError, ValueError):
    """A comparison that cannot be made as asked."""


@dataclass
class Plan:
    """One method on one data set: what to build, how to train it, what its search cost."""

    label: str
    method: str
    arguments: dict[str, Any]
    fit: dict[str, Any]
    tuning: dict[str, Any] | None
    shuffled: bool = False
    tries: Sequence[dict[str, Any]] = ()  # arguments to choose among before it is compared

    def key(self, data: hr.Dataset, seed: int, how: Any) -> str:
        """A hash of all that decides the outcome; ``how`` is what the caller decides (JSON)."""
        bound = inspect.signature(getattr(hr, self.method)).bind(None, **build(self.arguments))
        bound.apply_defaults()
        made = {k: describe(v) for k, v in bound.arguments.items() if k != "data"}
        cell = [data.fingerprint, data.split, how, self.method, made, self.fit, self.tuning, self.shuffled, seed]
        return hashlib.blake2b(json.dumps(cell, sort_keys=True).encode(), digest_size=12).hexdigest()


def plans(text: str, data: hr.Dataset, listed: str | None, tuned: str | None, shuffled: Sequence[str]) -> list[Plan]:
    """The method that ``text`` names, and its control where ``shuffled`` names it too.

    ``text`` is a class of hybridrec, with arguments in braces (YAML), or a label of the YAML file ``listed``, where an entry
    ``DATA/LABEL`` goes before ``LABEL`` on that data set. ``tuned`` is the folder that recipes/tune.py wrote to. Raises
    PlanError for an unknown method, and for arguments tuned on other rows.
    """
    label, brace, rest = (x.strip() for x in text.partition("{"))
    known, tuning = _listed(listed), None
    spec = dict(known.get(f"{data.name}/{label}") or known.get(label) or {})
    file = Path(tuned or "") / data.name / f"{label}.json"
    if brace:
        spec |= {"arguments": _braces(brace + rest, text)}
    elif tuned and file.exists():
        spec = read_json(file)
        if spec["fingerprint"] != replace(data, tables={}, features={}).fingerprint:
            raise PlanError(f"{file} was found on other rows than those of {data.name}; tune again")
        tuning = {k: spec[k] for k in ("trials", "minutes", "metric")}
    method = spec.get("method", label)
    if not inspect.isclass(getattr(hr, method, None)):
        raise PlanError(f"hybridrec has no method {method!r}; see hybridrec.methods, hybridrec.baselines, or give --plan")
    plan = Plan(
        text if brace else label,
        method,
        spec.get("arguments") or {},
        spec.get("fit") or {},
        tuning,
        tries=spec.get("tries") or (),
    )
    control = Plan(f"{plan.label}, shuffled text", plan.method, plan.arguments, plan.fit, plan.tuning, shuffled=True)
    return [plan, control] if {label, plan.label} & set(shuffled) else [plan]


def _listed(path: str | None) -> dict[str, Any]:
    try:
        return {} if path is None else read_yaml(path)
    except ConfigError as e:
        raise PlanError(str(e)) from e


def _braces(text: str, whole: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise PlanError(f"{whole!r}: the arguments in braces are not YAML: {e}") from e
    if not isinstance(found, dict):
        raise PlanError(f"{whole!r}: wanted 'Class {{name: value, ...}}'")
    return found
