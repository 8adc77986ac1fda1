"""Recommendation where language models and diffusion models meet collaborative filtering.

Shapes, everywhere in the package: ``B`` batch, ``U`` users, ``I`` items, ``N`` nodes, ``E`` edges, ``T`` steps of a
history, ``D`` width, ``K`` cut-off, ``n`` entries of a ragged list.

The first hour needs ``load``, a method, ``fit``, ``evaluate`` and ``Recommender``; each is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Blend": "hybridrec.blend",
    "load": "hybridrec.data.folder",
    "Dataset": "hybridrec.data.dataset",
    "fit": "hybridrec.training",
    "evaluate": "hybridrec.evaluation.ranking",
    "Recommender": "hybridrec.pipeline",
}

if TYPE_CHECKING:
    from hybridrec.blend import Blend
    from hybridrec.data.dataset import Dataset
    from hybridrec.data.folder import load
    from hybridrec.evaluation.ranking import evaluate
    from hybridrec.pipeline import Recommender
    from hybridrec.training import fit

__all__ = ["Blend", "Dataset", "Recommender", "evaluate", "fit", "load"]


def __getattr__(name: str) -> Any:
    """Import ``load``, ``fit`` ..., and every method and baseline, when first asked for."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    for room in ("hybridrec.methods", "hybridrec.baselines"):
        module = import_module(room)
        if name in getattr(module, "__all__", ()):
            return getattr(module, name)
    raise AttributeError(f"hybridrec has no {name!r}")


def __dir__() -> list[str]:
    rooms = (import_module(room) for room in ("hybridrec.methods", "hybridrec.baselines"))
    return sorted([*globals(), *_HOME, *(name for room in rooms for name in getattr(room, "__all__", ()))])
