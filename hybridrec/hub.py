"""Saved folders from and to the Hugging Face Hub."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hybridrec.errors import ArtifactError


def fetch(
    name: str | Path,
    patterns: Sequence[str],
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of that name, or the snapshot of the Hub model of that id, of which only files of ``patterns`` are fetched.

    Raises ArtifactError where there is neither.
    """
    path = Path(name)
    if os.path.isdir(path):  # unlike Path.is_dir, False for a name that no file could have
        return path
    if os.path.exists(path):
        raise ArtifactError(f"{path} is a file; an artifact is a folder")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name, re.ASCII):
        raise ArtifactError(f"no folder {str(name)!r}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(
            name,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(patterns),
            library_name="hybridrec",
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
        where = f" at revision {revision!r}" if revision else ""
        raise ArtifactError(f"no folder {name!r} here, and no model {name!r}{where} from the Hub: {_short(e)}") from e
    return Path(snapshot)


def push(
    repo_id: str,
    save: Callable[[Path], object],
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    message: str = "Upload a hybridrec Recommender",
) -> str:
    """Upload what ``save(folder)`` writes as one commit to the Hub model ``repo_id``, made if need be; returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token, library_name="hybridrec")
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo.repo_id, branch=revision, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder) / "artifact")
            commit = api.upload_folder(
                repo_id=repo.repo_id, folder_path=Path(folder) / "artifact", revision=revision, commit_message=message
            )
    except (HfHubHTTPError, HFValidationError, OSError, RuntimeError) as e:  # RuntimeError: an upload that broke off
        raise ArtifactError(f"cannot push to {repo_id!r}: {_short(e)}") from e
    return commit.commit_url


def _short(e: Exception) -> str:
    return " ".join(str(e).split())[:400] or type(e).__name__
