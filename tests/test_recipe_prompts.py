"""recipes/prompts.py and priors.py: what is told of unseen users and what is wanted, and which items a sentence mentions."""

from pathlib import Path

import torch
from conftest import planted
from standin import Words, titled

from hybridrec.data.split import ColdUsers

RECIPES = Path(__file__).parents[1] / "recipes"


def keys(relation):
    return set(map(tuple, relation.index.T.tolist()))


def test_of_unseen_users_a_fifth_is_wanted_and_the_rest_told(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    from prompts import told

    data = ColdUsers(seed=1)(planted())
    asked = told(data, 1)
    for part in ("valid", "test"):
        wanted, rows = keys(asked.heldout[part]), keys(data.heldout[part])
        users = {user for user, _ in rows}
        assert wanted < rows and rows - wanted <= keys(asked.train)
        for user in users:
            mine = sum(u == user for u, _ in rows)
            assert sum(u == user for u, _ in wanted) == max(1, round(mine / 5))
    assert keys(data.train) < keys(asked.train) and len(asked.train) + sum(map(len, asked.heldout.values())) == 720


def test_sentences_mention_a_users_own_items(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    from priors import sentences

    data, words = titled(planted()), Words(8)
    monkeypatch.setattr("priors.USERS", 20)
    template = "{% for item in items %}{{ item.title }} {% endfor %}"
    places, mentioned = sentences(data, words, template, seed=0, most=4)
    assert places.shape == (60, 8) and (places.any(1) == (mentioned.lengths > 0)).all() and places.any(1).sum() == 20
    assert int(mentioned.lengths.max()) <= 4
    titles, rows = data.tables["item"]["title"].to_pylist(), keys(data.train)
    for user in places.any(1).nonzero().flatten().tolist():
        items = mentioned.take(torch.tensor([user])).item.tolist()
        assert all((user, item) in rows for item in items)
        torch.testing.assert_close(places[user], words.embed([" ".join(titles[i] for i in items)])[1][0])
