"""Arguments of recipes: defaults, YAML, command line, and what is refused."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hybridrec.errors import DataError

spec = importlib.util.spec_from_file_location("arguments", Path(__file__).parents[1] / "recipes" / "arguments.py")
assert spec and spec.loader
arguments = importlib.util.module_from_spec(spec)
spec.loader.exec_module(arguments)


@dataclass
class Some:
    data: str | None = field(default=None, metadata={"help": "where the data is"})
    epochs: int = field(default=3, metadata={"help": "how often"})
    rate: float = field(default=0.5, metadata={"help": "how fast"})
    ks: list[int] = field(default_factory=lambda: [10, 20], metadata={"help": "cut-offs"})
    quiet: bool = field(default=False, metadata={"help": "say less"})


def parse(*argv: str) -> Some:
    return arguments.parse(Some, "A recipe.", "data", argv)


def test_later_wins(tmp_path):
    assert parse() == Some()
    assert parse("folder", "--epochs", "7") == Some(data="folder", epochs=7)
    file = tmp_path / "a.yaml"
    file.write_text("data: x\nepochs: 5\nrate: -1.5\nks: [1, 2, 3]\nquiet: true\n")
    assert parse("--config", str(file)) == Some("x", 5, -1.5, [1, 2, 3], True)
    assert parse("--epochs", "9", "--config", str(file), "--ks", "4") == Some("x", 9, -1.5, [4], True)
    file.write_text("epochs:\n")  # nothing given: the default
    assert parse("--config", str(file), "y") == Some("y")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 5", "unknown argument 'epoch'; did you mean 'epochs'?"),
        ("config: other.yaml", "unknown argument 'config'"),
        ("epochs: many", "invalid int value: 'many'"),
        ("epochs: {a: 1}", "not a mapping"),
        ("- a\n- b", "found a list"),
        ("a: [", "cannot be read as YAML"),
        ("x: !!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_bad_file_is_named(tmp_path, capsys, text, said):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit) as end:
        parse("--config", str(file))
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_missing_file_and_unknown_option(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse("--config", str(tmp_path / "none.yaml"))
    assert "none.yaml" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse("--epoch", "3", "--nonsense", "3")


def test_help_shows_every_default(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    for said in ("A recipe.", "how often (default: 3)", "cut-offs (default: [10, 20])", "say less (default: False)"):
        assert said in text


def test_our_errors_end_without_a_traceback():
    def main():
        raise DataError("row 3 is wrong")

    with pytest.raises(SystemExit, match="error: row 3 is wrong"):
        arguments.run(main)
