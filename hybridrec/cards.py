"""The front matter of model cards, as the Hub reads and renders it: library, tags, data set, and metrics as ``model-index``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def front(title: str, tags: Sequence[str], data: str, metrics: Mapping[str, float], part: str = "test") -> str:
    """The YAML of a card, with the lines of dashes around it. ``metrics`` (``{"ndcg@20": 0.35}``) were found on ``part``."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="recommendation",
            task_name="Top-k recommendation",
            dataset_type=slug(data),
            dataset_name=data,
            dataset_split=part,
            metric_type=metric.partition("@")[0],
            metric_name=metric,
            metric_value=value,
        )
        for metric, value in metrics.items()
    ]
    card = ModelCardData(
        library_name="hybridrec",
        tags=["recommender-system", "collaborative-filtering", *tags],
        datasets=[slug(data)],
        metrics=sorted({metric.partition("@")[0] for metric in metrics}) or None,
        model_name=title,
        eval_results=results or None,
    )
    return f"---\n{card.to_yaml()}\n---\n"


def slug(name: str) -> str:
    """A data set's name as the Hub wants names."""
    return "".join(x if x.isalnum() or x in "-_./" else "-" for x in name).strip("-./") or "unnamed"
