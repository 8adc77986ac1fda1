"""Comparisons refuse what does not belong together, and say in Markdown and HTML what they found."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch
from cases import Table, synthetic

from hybridrec.data.dataset import Split
from hybridrec.evaluation.page import Failure, page
from hybridrec.evaluation.plots import style
from hybridrec.evaluation.protocol import TRAIN_MASK
from hybridrec.evaluation.ranking import evaluate
from hybridrec.evaluation.report import ComparisonError, compare


def scores(seed: int, help_: float = 0.0, data=None) -> torch.Tensor:
    """Random scores, raised by ``help_`` for what is tested."""
    x = torch.rand(200, 150, generator=torch.Generator().manual_seed(seed))
    if data is not None:
        x[tuple(data.part("test").index)] += help_
    return x


@pytest.fixture(scope="module")
def data():
    return synthetic()


@pytest.fixture(scope="module")
def results(data):
    def runs(help_, seeds):
        found = []
        for seed in seeds:
            method = Table(scores(seed, help_, data))
            method.fitted = SimpleNamespace(seed=seed, as_dict=lambda: {"seconds": 2.0, "epochs": 3, "peak_memory": 5 << 20})
            found.append(evaluate(method, data))
        return found

    return {"good": runs(0.5, (0, 1)), "alike": runs(0.5, (2,)), "poor <b>": runs(0.0, (3,))}


def test_rows_in_order_with_marks(results):
    table = compare(results, ("recall@10", "ndcg@10"), samples=2000)
    best = table.rows[0].label
    assert {best, table.rows[1].label} == {"good", "alike"} and table.rows[2].label == "poor <b>"
    assert table.reference["ndcg@10"] == best and table.rows[0].versus["ndcg@10"] is None
    poor = table.rows[2].versus["ndcg@10"]
    assert poor is not None and poor.mean.value < 0 and poor.mark() == "▼"
    good = next(row for row in table.rows if row.label == "good")
    assert good.seeds.runs == 2
    assert good.seeds.metrics["ndcg@10"] == pytest.approx(sum(r.metrics["ndcg@10"] for r in results["good"]) / 2)
    text = table.markdown()
    assert f"**{table.best('ndcg@10'):.4f}**" in text and "±" in text and "▼" in text
    assert "200 users, ranking 150 items. Split: not recorded. Protocol full: reads train, masks train and valid" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:5]}) == 1 and str(table) == text


def test_against_a_baseline(results):
    table = compare(results, ["ndcg@20"], baseline="poor <b>", samples=1000)
    assert table.reference == {"ndcg@20": "poor <b>"}
    assert [row.versus["ndcg@20"].mark() for row in table.rows[:2]] == ["▲", "▲"]
    with pytest.raises(ComparisonError, match="baseline 'EASE' is not among"):
        compare(results, baseline="EASE")


def test_what_differs_is_named(data, results):
    method = Table(scores(0))
    one = evaluate(method, data)
    other = synthetic(seed=1)
    fresh = synthetic()
    object.__setattr__(fresh, "split", Split("RandomSplit", {"seed": 3}))
    for field, run in {
        "data.fingerprint": evaluate(method, other),
        "split": evaluate(method, fresh),
        "part": evaluate(method, data, "valid"),
        "protocol.name": evaluate(method, data, protocol=TRAIN_MASK),
        "judged.users": evaluate(method, data, users=range(50)),
        "judged.candidates": evaluate(method, data, candidates=range(100)),
        "judged.digest": evaluate(method, data, users=range(50, 100)),
    }.items():
        first = evaluate(method, data, users=range(50)) if field == "judged.digest" else one
        with pytest.raises(ComparisonError, match=f"a and b cannot be compared: {re.escape(field)} is"):
            compare({"a": [first], "b": [run]})
    with pytest.raises(ComparisonError, match="b has no ndcg@20; it has"):
        compare({"a": [one], "b": [evaluate(method, data, ks=(5,))]}, ["ndcg@20"])
    for nothing in ({}, [], {"a": []}):
        with pytest.raises(ComparisonError, match="nothing to compare"):
            compare(nothing)


def test_labels_of_a_plain_list(planted):
    import hybridrec as hr

    runs = []
    for make in (lambda: hr.EASE(planted, ridge=1.0), lambda: hr.EASE(planted, ridge=9.0), lambda: hr.Popularity(planted)):
        method = make()
        hr.fit(method, planted, progress=False)
        runs += [hr.evaluate(method, planted)]
    table = compare([*runs, runs[0]], samples=100)
    assert {row.label: len(row.runs) for row in table.rows} == {"EASE (ridge=1.0)": 2, "EASE (ridge=9.0)": 1, "Popularity": 1}
    assert table.metrics == ("recall@10", "ndcg@10", "recall@20", "ndcg@20")


class Checker(HTMLParser):
    """Notes what a page would fetch, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "path", "use", "br"):
            self.open.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v and not v.startswith("#")]
        assert tag not in ("script", "link", "iframe", "img")

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_alone(results):
    table = compare(results, samples=500)
    text = page([table], [Failure("synthetic", "Broken & co", n, "ValueError: <bad>") for n in (1, 2)], "A <title>")
    checker = Checker()
    checker.feed(text)
    assert checker.outside == [] and checker.open == [] and "url(http" not in text and "@import" not in text
    assert text.count("<svg") == 4 and 'id="DejaVu' not in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 0
    for words in ("A <title>", "Broken & co", "ValueError: <bad>", "poor <b>", table.headline(), table.legend()):
        assert words in checker.text
    assert "<td>1, 2</td>" in text and "novelty@20" in checker.text
    assert '"fingerprint"' in checker.text  # the passports
    assert "5 MiB" in text and "2 s" in text


def test_plots_of_one_page_share_no_clip_path(results):
    text = page([compare(results, samples=100)])
    clips = re.findall(r'<clipPath id="([^"]+)"', text)
    assert len(clips) == len(set(clips)) == 4


def test_untimed_methods_have_no_plot_of_time(data):
    text = page([compare({"a": [evaluate(Table(scores(0)), data)]}, samples=50)])
    assert text.count("<svg") == 3


def test_sixty_four_methods_look_different():
    assert len({style(i) for i in range(64)}) == 64
