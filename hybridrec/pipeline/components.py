"""The denoiser and the scheduler that a method carries, as folders of an artifact in diffusers' own format.

``denoiser/`` holds ``config.json`` and ``diffusion_pytorch_model.safetensors``, ``scheduler/`` a ``scheduler_config.json``: the
classes that the index names read them by ``from_pretrained(artifact, subfolder="denoiser")``, without a Recommender. The
method's own folder is whole without them; an artifact where they differ from it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from hybridrec.errors import ArtifactError
from hybridrec.pipeline.folder import INDEX, Folder
from hybridrec.saving import read_json, read_weights, state

NAMES = ("denoiser", "scheduler")
FILE = "diffusion_pytorch_model.safetensors"


def components(method: Any) -> dict[str, Any]:
    """What ``method`` calls its components, by name; none for most methods."""
    return dict(method.components()) if hasattr(method, "components") else {}


def named(method: Any) -> dict[str, list[str]]:
    """Components as the index names them: module and class."""
    return {name: [type(x).__module__, type(x).__qualname__] for name, x in components(method).items()}


def write(method: Any, folder: Path) -> dict[str, list[str]]:
    """One folder a component; returns the entries of the index."""
    for name, x in components(method).items():
        x.save_config(folder / name)
        if isinstance(x, nn.Module):
            save_file(state(x), folder / name / FILE, metadata={"format": "pt"})
    return named(method)


def check(method: Any, folder: Folder) -> None:
    """Raise ArtifactError where the components in ``folder`` are not those that its ``method`` has."""
    entries = {name: folder.index[name] for name in NAMES if name in folder.index}
    if entries != named(method):
        raise ArtifactError(f"{folder.path / INDEX} names components {entries}; its method has {named(method)}")
    for name, x in components(method).items():
        path = folder.file(f"{name}/{x.config_name}")
        if _plain(read_json(path)) != _plain(json.loads(x.to_json_string())):
            raise ArtifactError(f"{path} does not configure the {name} of the method saved beside it")
        if isinstance(x, nn.Module):
            path = folder.file(f"{name}/{FILE}")
            mine, saved = state(x), read_weights(path)
            if mine.keys() != saved.keys() or not all(torch.equal(mine[key], saved[key]) for key in mine):
                raise ArtifactError(f"{path} does not hold the weights of the method saved beside it")


def _plain(config: Any) -> Any:
    """A configuration without the version of the library that wrote it."""
    if not isinstance(config, Mapping):
        return config
    return {name: value for name, value in config.items() if name not in ("_diffusers_version", "_name_or_path")}
