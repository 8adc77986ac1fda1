"""Several methods as one."""

import pytest
import torch

import hybridrec as hr
from hybridrec.blend import Blend, BlendError
from hybridrec.data.batches import Histories, Query
from hybridrec.saving import load_method, save_method


def test_scores_are_added_on_one_scale_and_survive_saving(planted, tmp_path):
    torch.manual_seed(0)
    one, other, flat = hr.EASE(planted, ridge=5.0), hr.LightGCN(planted, dim=4).eval(), hr.EASE(planted)
    hr.fit(one, planted)
    hr.fit(flat, planted)
    flat.weights.zero_()
    blend = Blend.of(planted, [one, other, flat], [1.0, 0.5, 3.0])
    query = Query(torch.tensor([3, -1]), Histories.lists([[4, 9], [1]]))

    def scaled(score):
        return (score - score.mean(1, keepdim=True)) / score.std(1, correction=0, keepdim=True)

    with torch.no_grad():
        found = blend.score(query)
        torch.testing.assert_close(found, scaled(one.score(query)) + 0.5 * scaled(other.score(query)))
        save_method(blend, tmp_path, planted.schema)
        assert torch.equal(load_method(tmp_path)[0].score(query), found)
    assert hr.evaluate(blend, planted).passport["method"]


def test_a_weight_for_each_method(planted):
    with pytest.raises(BlendError, match="1 methods and 2 weights"):
        Blend.of(planted, [hr.EASE(planted)], [1.0, 2.0])
