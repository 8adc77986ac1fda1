"""Where a tally that a command prints is kept: JSON with what was run and the versions it ran with, and nothing of the day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hybridrec.evaluation.passport import versions


def keep(path: Path, command: str, found: Any) -> None:
    """Write what ``command`` found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"command": command, "found": found, "versions": versions()}, indent=1) + "\n")
