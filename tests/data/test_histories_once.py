"""Rows read as sets."""

from hybridrec.data.batches import Histories


def test_once_marks_the_last_entry_of_each_item_in_each_row():
    history = Histories.lists([[3, 1, 3], [], [3, 3, 0]])
    assert history.once(4).tolist() == [False, True, True, False, True, True]
    assert Histories.lists([[]]).once(4).tolist() == []
