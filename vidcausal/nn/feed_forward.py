"""Two-layer perceptrons, plain and gated. Letters: d_in, h hidden, d_out widths."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu-tanh": _gelu_tanh,
    "silu": F.silu,
    "relu": F.relu,
}


class FeedForward(nn.Module):
    """``down(act(up(x)))``, or ``down(silu(gate(x)) * up(x))`` for the activation ``swiglu``."""

    def __init__(
        self, input_dim: int, hidden_dim: int, output_dim: int, *, activation: str = "gelu", bias: bool = True
    ) -> None:
        super().__init__()
        if activation != "swiglu" and activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(['swiglu', *_ACTIVATIONS])}, got {activation!r}")
        self.gate = nn.Linear(input_dim, hidden_dim, bias=bias) if activation == "swiglu" else None
        self.up = nn.Linear(input_dim, hidden_dim, bias=bias)
        self.down = nn.Linear(hidden_dim, output_dim, bias=bias)
        self.activation = activation
        self._activation = F.silu if activation == "swiglu" else _ACTIVATIONS[activation]

    def extra_repr(self) -> str:
        """Settings that no submodule shows."""
        return f"activation={self.activation}"

    def forward(self, x: Tensor) -> Tensor:
        """``[..., d_in] -> [..., d_out]``."""
        hidden = self._activation(self.up(x)) if self.gate is None else self._activation(self.gate(x)) * self.up(x)
        out: Tensor = self.down(hidden)
        return out


@torch.no_grad()
def init_weights(module: nn.Module, std: float = 0.02) -> None:
    """Truncated normal weights and zero biases in every linear layer below ``module``."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
