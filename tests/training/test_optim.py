from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcausal.training.optim import Average, build_optimizers, schedule, split_parameters


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 16, 3)
        self.projector = nn.ModuleDict({"mix": nn.Linear(16, 16), "thin": nn.Linear(16, 4)})
        self.language = nn.ModuleDict(
            {"model": nn.ModuleDict({"embed": nn.Embedding(50, 16), "layers": nn.ModuleList([nn.Linear(16, 32)])})}
        )


def test_matrices_between_hidden_states_go_to_muon_and_all_else_to_adam() -> None:
    model = Model()
    names = {id(value): name for name, value in model.named_parameters()}
    matrices, others = split_parameters(model)
    assert [names[id(value)] for value in matrices] == ["projector.mix.weight", "language.model.layers.0.weight"]
    assert {id(value) for value in (*matrices, *others)} == set(names)
    made = build_optimizers(model, muon_lr=0.02, adam_lr=1e-3, weight_decay=0)
    assert [type(optimizer).__name__ for optimizer in made] == ["Muon", "AdamW"]


def test_frozen_parameters_are_left_out() -> None:
    model = Model()
    model.projector.requires_grad_(False)
    model.language.requires_grad_(False)
    matrices, others = split_parameters(model)
    assert matrices == []
    assert len(others) == 2
    (only,) = build_optimizers(model, muon_lr=0.02, adam_lr=1e-3, weight_decay=0)
    assert type(only).__name__ == "AdamW"
    average = Average(model, 0.9)
    assert set(average.values) == {"encoder.weight", "encoder.bias"}
    before = model.projector["mix"].weight.clone()
    average.copy_to(model.named_parameters())
    assert torch.equal(before, model.projector["mix"].weight)


def test_without_muon_one_optimizer_has_everything() -> None:
    (only,) = build_optimizers(Model(), muon_lr=0, adam_lr=1e-3, weight_decay=0.1)
    assert sum(len(group["params"]) for group in only.param_groups) == len(list(Model().parameters()))


def test_the_learning_rate_rises_and_falls() -> None:
    factors = [schedule(step, 100, warmup=10) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.51)  # halfway between 1 and the floor of 0.02
    assert all(a > b for a, b in zip(factors[10:], factors[11:], strict=False))
    assert 0.02 < factors[-1] < 0.021
    assert schedule(0, 1, warmup=0) == 1.0


def test_the_average_is_of_what_was_seen_and_not_of_the_start() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, 0.5)
    values = []
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(model.weight, value)
        before = float(average.values["weight"])
        average.update(model)
        decay = min(0.5, average.updates / (average.updates + 10))
        values.append(float(average.values["weight"]))
        assert values[-1] == pytest.approx(decay * before + (1 - decay) * value)
    other = Average(nn.Linear(1, 1, bias=False), 0.5)
    other.load_state_dict(average.state_dict())
    assert other.updates == 3
    assert float(other.values["weight"]) == values[-1]
