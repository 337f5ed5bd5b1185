from __future__ import annotations

import pytest
import torch

from vidcausal.nn.fusion.splice import splice

HOLE = -200


def test_features_stand_where_the_slots_were() -> None:
    ids = torch.tensor([[5, HOLE, HOLE, 6], [HOLE, 7, 8, HOLE]])
    embeddings = torch.zeros(2, 4, 3, requires_grad=True)
    features = torch.arange(12.0).reshape(2, 2, 3).requires_grad_()
    result = splice(ids, embeddings, features, HOLE)
    assert torch.equal(result[0, 1:3], features[0])
    assert torch.equal(result[1, [0, 3]], features[1])
    assert torch.equal(result[ids != HOLE], torch.zeros(4, 3))
    result.sum().backward()
    assert features.grad is not None
    assert bool((features.grad == 1).all())
    assert embeddings.grad is not None
    assert float(embeddings.grad[0, 1].sum()) == 0.0
    assert float(embeddings.grad[0, 0].sum()) == 3.0


def test_both_counts_are_in_the_error() -> None:
    ids = torch.tensor([[HOLE, HOLE, 1]])
    with pytest.raises(ValueError, match=r"2 slots .* 3 projected"):
        splice(ids, torch.zeros(1, 3, 4), torch.zeros(3, 4), HOLE)


def test_slots_belong_to_their_own_video() -> None:
    ids = torch.tensor([[HOLE, HOLE, HOLE], [HOLE, 1, 2]])
    with pytest.raises(ValueError, match=r"needs 2 .* got \[3, 1\]"):
        splice(ids, torch.zeros(2, 3, 4), torch.zeros(2, 2, 4), HOLE)


def test_widths_must_agree() -> None:
    with pytest.raises(ValueError, match="5 wide, the language model 4"):
        splice(torch.tensor([[HOLE]]), torch.zeros(1, 1, 4), torch.zeros(1, 5), HOLE)
    with pytest.raises(ValueError, match="one embedding a token"):
        splice(torch.tensor([[HOLE]]), torch.zeros(1, 2, 4), torch.zeros(1, 4), HOLE)
