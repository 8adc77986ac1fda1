"""Tune methods on a data set's valid rows, every one with the same budget.

    python recipes/tune.py ml-100k --methods EASE IALS LightGCN --trials 20

What is searched is in recipes/spaces.yaml. A search goes on where it was stopped; when its budget is spent, the best arguments
are in OUT/DATA/LABEL.json with the budget they cost, which recipes/compare.py reads. Test rows are never looked at.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from arguments import parse, read_yaml, run, write_json

import hybridrec as hr
from hybridrec.errors import HybridrecError
from hybridrec.evaluation.metrics import cutoff
from hybridrec.saving import build, make_folder

if TYPE_CHECKING:
    import optuna


class TuningError(HybridrecError, ValueError):
    """A search that cannot be made, or that found nothing."""


@dataclass
class Tune:
    """Arguments."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    methods: list[str] = field(default_factory=lambda: ["EASE"], metadata={"help": "labels of the file of spaces, or `all`"})
    trials: int = field(default=20, metadata={"help": "trials for each method"})
    minutes: float = field(default=0.0, metadata={"help": "stop each method's search after so many minutes; 0: never"})
    metric: str = field(default="ndcg@20", metadata={"help": "what is raised, by full ranking of the valid rows"})
    users: int = field(default=0, metadata={"help": "judge by so many of the users, drawn once; 0: all"})
    seed: int = field(default=0, metadata={"help": "seed of the search, of every trial and of the draw of users"})
    spaces: str = field(default=str(Path(__file__).with_name("spaces.yaml")), metadata={"help": "YAML file of what to search"})
    out: str = field(default="runs/tuned", metadata={"help": "folder for the results and tuning.sqlite"})


def main() -> None:
    """Tune what the command line names."""
    search(parse(Tune, "Tune methods on the valid rows of a data set, every one with the same budget.", "data"))


def search(args: Tune) -> None:
    """Tune every method and write what was found."""
    spaces = read_yaml(args.spaces)
    labels = list(spaces) if args.methods == ["all"] else args.methods
    unknown = [label for label in labels if label not in spaces]
    if unknown:
        raise TuningError(f"{args.spaces} has no space for {unknown}; it has {sorted(spaces)}")
    cutoff(args.metric)  # before any work
    data = hr.load(args.data)
    out = Path(args.out)
    make_folder(out / data.name)
    for label in labels:
        found = tune(label, spaces[label], data, args, f"sqlite:///{out / 'tuning.sqlite'}")
        write_json(out / data.name / f"{label}.json", found)
        print(f"{label}: valid {args.metric} {found['value']:.4f} with {found['arguments']} {found['fit'] or ''}", flush=True)


def tune(label: str, space: dict[str, Any], data: hr.Dataset, args: Tune, storage: str) -> dict[str, Any]:
    """Spend what is left of the budget on one method: the best arguments and what they cost. Raises TuningError."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    users = sample(data, args)
    # What was asked names the search: another space, seed or data set is another search.
    rows = replace(data, tables={}, features={}).fingerprint  # embedded texts may differ in the last bit by machine
    question = json.dumps([space, args.metric, args.seed, args.users, rows], sort_keys=True)
    name = f"{data.name}/{label}/{hashlib.blake2b(question.encode(), digest_size=6).hexdigest()}"
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    done = finished(study)
    # Arguments are drawn together, after few blind trials: a ridge means little without the weight of what is unseen.
    study.sampler = optuna.samplers.TPESampler(seed=args.seed + len(done), multivariate=True, n_startup_trials=6)

    def objective(trial: optuna.Trial) -> float:
        point = suggest(trial, {"arguments": space.get("arguments") or {}, "fit": space.get("fit") or {}})
        trial.set_user_attr("point", point)
        torch.manual_seed(args.seed)
        try:
            method = getattr(hr, space.get("method", label))(data, **build(point["arguments"]))
            hr.fit(method, data, metric=args.metric, seed=args.seed, progress=False, **point["fit"])
        except HybridrecError as error:  # these arguments do not go with these data: a trial without a value
            trial.set_user_attr("error", str(error))
            raise optuna.TrialPruned from error
        return hr.evaluate(method, data, part="valid", ks=(cutoff(args.metric),), users=users).metrics[args.metric]

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        value = f"{trial.value:.4f}" if trial.value is not None else f"failed ({trial.user_attrs.get('error')})"
        print(f"{label} {len(finished(study))}/{args.trials}: {value} in {seconds:.1f} s, {trial.params}", flush=True)
        spent = args.minutes and minutes(study) >= args.minutes
        if not trial.params or spent:  # nothing to search, or no time left
            study.stop()

    exhausted = any(not trial.params for trial in done) or (args.minutes and minutes(study) >= args.minutes)
    if len(done) < args.trials and not exhausted:
        study.optimize(objective, n_trials=args.trials - len(done), callbacks=[report])
    done = finished(study)
    good = [trial for trial in done if trial.value is not None]
    if not good:
        raise TuningError(f"all {len(done)} trials of {label} on {data.name} failed: {done[-1].user_attrs.get('error')}")
    best = max(good, key=lambda trial: trial.value or 0.0)
    return {
        "data": data.name,
        "fingerprint": rows,
        "method": space.get("method", label),
        **best.user_attrs["point"],
        "trials": len(done),
        "minutes": round(minutes(study), 2),
        "metric": args.metric,
        "value": best.value,
        "users": args.users or "all",
        "seed": args.seed,
    }


def suggest(trial: optuna.Trial, space: Any, name: str = "") -> Any:
    """A point of a space: ranges and lists become values, whatever else stays."""
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    if not isinstance(space, dict):
        return space
    if {"low", "high"} <= space.keys():
        low, high, log = space["low"], space["high"], space.get("log", False)
        whole = isinstance(low, int) and isinstance(high, int)
        return (trial.suggest_int if whole else trial.suggest_float)(name, low, high, log=log)
    return {key: suggest(trial, value, f"{name}.{key}".lstrip(".")) for key, value in space.items()}


def sample(data: hr.Dataset, args: Tune) -> torch.Tensor | None:
    """The users that judge, or None for all."""
    users = data.part("valid").index[0].unique()
    if not args.users or args.users >= len(users):
        return None
    return users[torch.randperm(len(users), generator=torch.Generator().manual_seed(args.seed))[: args.users]]


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that have ended, well or not."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def minutes(study: optuna.Study) -> float:
    """What all ended trials took together."""
    return sum(trial.duration.total_seconds() for trial in finished(study) if trial.duration) / 60


if __name__ == "__main__":
    run(main)
