"""The table of methods is generated from docstrings, and the README's is in step."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "recipes"))

import table  # noqa: E402


def test_a_method_is_placed_by_its_taxonomy_line():
    place = table.taxonomy(table.hybridrec.methods.SGL)
    assert place == ("SGL", "contrastive", "data-based views", "natural pairs", "InfoNCE", ("general",))


def test_a_scenario_can_be_named_and_must_be_known():
    class Fake:
        """One.

        contrastive | a | b | c
        Scenario: social, bundle.
        """

    assert table.taxonomy(Fake).scenarios == ("social", "bundle")
    Fake.__doc__ = Fake.__doc__.replace("bundle", "soical")
    with pytest.raises(ValueError, match="Fake: scenario \\['soical'\\] is none of general"):
        table.taxonomy(Fake)


def test_a_method_without_a_taxonomy_line_is_named():
    with pytest.raises(ValueError, match="int: wanted one line"):
        table.taxonomy(int)


def test_the_table_has_three_paradigms_nine_scenarios_and_every_method():
    lines = table.table().splitlines()
    assert lines[0] == "| scenario | contrastive | reconstructive | adversarial |"
    assert [line.split("|")[1].strip() for line in lines[2:11]] == list(table.SCENARIOS)
    named = {line.split("|")[1].strip() for line in lines[14:]}
    assert named == set(table.hybridrec.methods.__all__)


def test_writing_keeps_the_rest_of_the_file_and_checking_tells(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    run = [sys.executable, str(ROOT / "recipes" / "table.py"), str(page)]
    assert subprocess.run([*run, "--check"], capture_output=True).returncode == 1
    subprocess.run(run, check=True)
    assert subprocess.run([*run, "--check"]).returncode == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "| SGL | contrastive |" in text


def test_missing_markers_are_named():
    with pytest.raises(ValueError, match="methods:begin"):
        table.rewritten("nothing")


def test_readme_is_in_step():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.rewritten(text) == text, "run: python recipes/table.py README.md"
