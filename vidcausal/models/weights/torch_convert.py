"""A torch state dict (pickle) to safetensors, in a process of its own that does nothing else.

Run as a file by :func:`state_dict_to_safetensors`; the child imports torch and safetensors only, unpickles with
``weights_only=True`` (numbers, no code) and writes tensors. The pickle is deleted by the caller and never read again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TIMEOUT = 600.0


def state_dict_to_safetensors(source: Path, target: Path) -> None:
    """Convert ``source`` to ``target`` in a child process.

    Raises:
        WeightsError: the child refused the file or failed; the message has its last line.
    """
    from vidcausal.errors import ForbiddenWeightsError

    command = [sys.executable, "-I", str(Path(__file__).resolve()), str(source), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ForbiddenWeightsError(f"{source.name} was not converted within {_TIMEOUT:.0f} s; refused") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ForbiddenWeightsError(f"{source.name} is not a plain dictionary of tensors and is refused: {last}")


def _convert(source: str, target: str) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.load(source, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SystemExit("the file holds something else than a dictionary of tensors")
    save_file({str(key): value.detach().clone().contiguous() for key, value in state.items()}, target)


if __name__ == "__main__":
    _convert(sys.argv[1], sys.argv[2])
