"""Examine a data set folder: statistics, duplicates, leakage between parts, cold entities, times, text, popularity.

Every finding has a remedy. A folder that cannot be loaded is examined as far as it can be read; the exit status is then 1.

    python recipes/doctor.py path/to/folder
    python recipes/doctor.py ml-100k --json checkup.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from arguments import run

from hybridrec.doctor import examine
from hybridrec.doctor.page import page
from hybridrec.errors import DataError


def main() -> None:
    """Print the page; write the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="a data set folder, or a known name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the checkup there as well")
    args = parser.parse_args()
    checkup = examine(args.path)
    print(page(checkup))
    if args.json:
        try:
            checkup.save(args.json)
        except OSError as e:
            raise DataError(f"--json {args.json}: cannot be written ({e.strerror}); name a file in a folder that exists") from e
    if checkup.refusal is not None:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
