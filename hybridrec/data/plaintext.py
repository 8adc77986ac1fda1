"""Files of text as columns: CSV (comma), TSV (tab) and JSON lines, all UTF-8.

A CSV says no types: cells are read as text, and ids are integers where every id of that kind is written as one.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from hybridrec.data.tables import Columns, held
from hybridrec.errors import DataError

DEEP = 100  # brackets within brackets in a line of JSON
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}


def open_csv(path: Path, separator: str = "", quoted: bool = True) -> Columns:
    """A CSV or TSV file with a header. Raises DataError for another separator, another encoding, or a ragged row."""
    separator = separator or ("\t" if path.suffix == ".tsv" else ",")
    names = _header(path, separator, quoted)
    parse = pyarrow.csv.ParseOptions(delimiter=separator, quote_char='"' if quoted else False, newlines_in_values=quoted)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.large_string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        # One thread: only then does an error say which row it is in.
        table = pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False), parse, convert)
    except (pa.ArrowException, OSError, ValueError) as e:  # ValueError: a message that is itself no UTF-8
        check_encoding(path)
        message = re.sub(
            r"Row #(\d+)", lambda m: f"row {int(m[1]) - 1}", str(e).splitlines()[0].removeprefix("CSV parse error: ")
        )
        raise DataError(f"{path}: {message}; every row needs {len(names)} cells separated by {SEPARATORS[separator]}") from e
    return held(str(path), table, textual=True)


def _header(path: Path, separator: str, quoted: bool) -> list[str]:
    """The names of the columns. Raises DataError where there is none, or the separator is another."""
    with path.open("rb") as file:
        start = file.readline()
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: encoded as UTF-16; save it as UTF-8")
    try:
        line = start.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        check_encoding(path)
        raise
    if not line:
        raise DataError(f"{path}: the first line is empty, wanted the names of the columns")
    try:
        quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        names = next(csv.reader([line], delimiter=separator, quotechar='"', quoting=quoting))  # type: ignore[arg-type]
    except csv.Error as e:
        raise DataError(f"{path}: the first line is no line of names ({e}); write it again with line ends of one kind") from e
    others = [s for s in SEPARATORS if s != separator and s in line]
    if len(names) == 1 and others:
        raise DataError(
            f"{path}: one column named {line!r}: its cells seem separated by {SEPARATORS[others[0]]}; "
            f"write it again with {SEPARATORS[separator]}, or rename the file (.csv is comma, .tsv is tab)"
        )
    if doubled := [n for n in names if names.count(n) > 1]:
        raise DataError(f"{path}: two columns are named {doubled[0]!r}; rename one")
    return names


def check_encoding(path: Path) -> None:
    """Raise DataError naming the line where ``path`` stops being UTF-8, and what it seems to be."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as e:
                seems = "UTF-16" if b"\0" in line else "Latin-1 or Windows-1252"
                raise DataError(
                    f"{path}, row {number}: byte 0x{line[e.start]:02x} is not UTF-8 (it seems {seems}); save the file as UTF-8"
                ) from e


def open_jsonl(path: Path) -> Columns:
    """A file with one JSON object a line. Raises DataError for a line that is not, or whose types differ from the others'."""
    _refuse_fatal(path)
    block = min(max(path.stat().st_size, 1), 2**31 - 1)  # in one block, so that rows are counted from the start
    try:
        table = pyarrow.json.read_json(path, pyarrow.json.ReadOptions(use_threads=False, block_size=block))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as e:  # ValueError: a message that is itself no UTF-8
        check_encoding(path)
        message = re.sub(
            r"in row (\d+)", lambda m: f"in row {int(m[1]) + 1}", str(e).splitlines()[0].removeprefix("JSON parse error: ")
        )
        raise DataError(f"{path}: {message}; wanted one JSON object a line, each name with one type throughout") from e
    return held(str(path), table)


def _refuse_fatal(path: Path) -> None:
    """Raise DataError for what ends the process in Arrow's parser: a first row that is no object, brackets deeper than DEEP."""
    begun = False
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not begun and (start := line.removeprefix(b"\xef\xbb\xbf").lstrip()):
                begun = True
                if not start.startswith(b"{"):
                    raise DataError(f"{path}, row {number}: not an object; wanted one JSON object a line")
            if line.count(b"[") + line.count(b"{") > DEEP:
                marks = np.frombuffer(re.sub(rb'"(?:\\.|[^"\\])*"', b"", line), np.uint8)
                step = np.isin(marks, list(b"[{")).astype(np.int32) - np.isin(marks, list(b"]}"))
                if int(step.cumsum().max(initial=0)) > DEEP:
                    raise DataError(f"{path}, row {number}: brackets nest more than {DEEP} deep; wanted a flat object a line")
