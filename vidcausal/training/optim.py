"""Two optimizers in one: Muon for the matrices between hidden states, AdamW for everything else.

Muon (Jordan et al., 2024, github.com/KellerJordan/Muon; torch.optim.Muon) makes the update of a matrix orthogonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vidcausal.errors import MissingDependencyError


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that training changes."""
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices of the language model's layers and of the projector; and all other parameters that are trained."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in trained(model):
        inside = name.startswith(("language.model.layers", "projector."))
        (matrices if inside and parameter.ndim == 2 and min(parameter.shape) > 8 else others).append(parameter)
    return matrices, others


def build_optimizers(
    model: nn.Module, *, muon_lr: float, adam_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon (left out with ``muon_lr`` 0: AdamW for all) and AdamW.

    Raises:
        MissingDependencyError: this torch has no Muon.
    """
    matrices, others = split_parameters(model)
    if not muon_lr or not matrices:
        return [torch.optim.AdamW([*matrices, *others], lr=adam_lr, weight_decay=weight_decay, betas=(0.9, 0.95))]
    if not hasattr(torch.optim, "Muon"):
        raise MissingDependencyError(
            f"Muon needs torch 2.9 or later, this is {torch.__version__}; upgrade torch, or train with muon_lr=0"
        )
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=adam_lr, weight_decay=weight_decay, betas=(0.9, 0.95)),
    ]


def schedule(step: int, total: int, *, warmup: int, floor: float = 0.02) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine down to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


class Average:
    """Exponential moving average of parameters, started without bias toward the first values."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: value.detach().clone().float() for name, value in trained(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step toward the present parameters; young averages move faster."""
        self.updates += 1
        rate = 1 - min(self.decay, self.updates / (self.updates + 10))
        own, new = [], []
        for name, value in trained(model):
            own.append(self.values[name])
            new.append(value.detach().float())
        torch._foreach_lerp_(own, new, rate)

    def state_dict(self) -> dict[str, Any]:
        """Values and how often they were updated."""
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.updates, self.values = state["updates"], state["values"]

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Write the average into parameters by name; those that were not trained stay."""
        for name, value in parameters:
            if name in self.values:
                value.copy_(self.values[name])
