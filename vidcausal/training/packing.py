"""Many tasks behind one video: branches of a tree of text, packed into one row with a mask.

The video is encoded and read once; every prompt about it follows in the same row, continues the positions of what it
hangs on, and sees that and itself only. So a row computes, to rounding, what separate rows would.

Letters: b rows, s tokens of a row, n answer tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VIDEO = -200
"""Stands for one projected feature; the same number as in :mod:`vidcausal.models.video_lm`."""


ROUND = 64


@dataclass(frozen=True)
class Branch:
    """A piece of text that continues another.

    ``answer`` says from which of its tokens on the model is to learn them (``len(ids)``: none). ``parent`` is the index
    of the branch it continues, None for the root. ``weights``, one an answer token, multiply their losses; empty for
    all 1. What counts less than 1 does not decide whether the answer is right.
    """

    ids: Sequence[int]
    answer: int
    parent: int | None = None
    weights: Sequence[float] = ()
    task: str = ""


@dataclass
class Row:
    """The branches of one row, parents first; the root is the first."""

    branches: list[Branch] = field(default_factory=list)

    def add(
        self,
        ids: Sequence[int],
        *,
        answer: int,
        parent: int | None = None,
        weights: Sequence[float] = (),
        task: str = "",
    ) -> int:
        """Add a branch; its index."""
        self.branches.append(Branch(ids, answer, parent, weights, task))
        return len(self.branches) - 1

    @property
    def length(self) -> int:
        """Tokens of the row."""
        return sum(len(branch.ids) for branch in self.branches)


class Packed(NamedTuple):
    """Tensors of a batch of rows."""

    ids: Tensor
    """int64 ``[b, s]``; :data:`VIDEO` for a projected feature, 0 where the row is padded."""
    positions: Tensor
    """int64 ``[b, s]``."""
    mask: Tensor
    """bool ``[b, 1, s, s]``: True = may look."""
    source: Tensor
    """int64 ``[n]``: index into the flattened ``[b * s]`` of the token after which an answer token is predicted."""
    target: Tensor
    """int64 ``[n]``: the answer tokens."""
    weight: Tensor
    """float32 ``[n]``."""
    task: Tensor
    """int64 ``[n]``: index into ``tasks``."""
    answer: Tensor
    """int64 ``[n]``: number of the answer, counted over the batch."""
    tasks: tuple[str, ...]


def pack(rows: Sequence[Row], *, length: int | None = None) -> Packed:
    """Rows to tensors.

    Args:
        rows: at least one.
        length: tokens every row is padded to; None for the longest, up to a multiple of :data:`ROUND`: few different
            shapes, for each of which a CPU prepares its kernels once.

    Raises:
        ValueError: a row is longer than ``length``, or a root learns its first token.
    """
    longest = max(row.length for row in rows)
    size = -(-longest // ROUND) * ROUND if length is None else length
    if longest > size:
        raise ValueError(f"a row has {longest} tokens, more than length={size}")
    names = tuple(sorted({branch.task for row in rows for branch in row.branches}))
    parts = [_row(row, size, names) for row in rows]
    source = np.concatenate([part.source + number * size for number, part in enumerate(parts)])
    return Packed(
        ids=torch.from_numpy(np.stack([part.ids for part in parts])),
        positions=torch.from_numpy(np.stack([part.positions for part in parts])),
        mask=torch.from_numpy(np.stack([part.mask for part in parts])[:, None]),
        source=torch.from_numpy(source),
        target=torch.from_numpy(np.concatenate([part.target for part in parts])),
        weight=torch.from_numpy(np.concatenate([part.weight for part in parts])),
        task=torch.from_numpy(np.concatenate([part.task for part in parts])),
        answer=torch.from_numpy(_numbered([part.answer for part in parts])),
        tasks=names,
    )


def _numbered(answers: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Branch numbers of each row to numbers over all rows."""
    most = max((int(answer.max()) + 1 for answer in answers if len(answer)), default=0)
    return np.concatenate([answer + row * most for row, answer in enumerate(answers)])


class _Part(NamedTuple):
    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    mask: NDArray[np.bool_]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float32]
    task: NDArray[np.int64]
    answer: NDArray[np.int64]


def _row(row: Row, size: int, names: Sequence[str]) -> _Part:
    count = len(row.branches)
    ids, positions = np.zeros(size, np.int64), np.zeros(size, np.int64)
    owner = np.full(size, -1, np.int64)
    sees = np.zeros((count, count), bool)
    end, last = [0] * count, [-1] * count
    source: list[int] = []
    target: list[int] = []
    weight: list[float] = []
    task: list[int] = []
    answer: list[int] = []
    place = 0
    for number, branch in enumerate(row.branches):
        first = 0
        before = -1
        if branch.parent is not None:
            sees[number] = sees[branch.parent]
            first, before = end[branch.parent], last[branch.parent]
        sees[number, number] = True
        length = len(branch.ids)
        stop = place + length
        ids[place:stop] = branch.ids
        positions[place:stop] = np.arange(first, first + length)
        owner[place:stop] = number
        for offset in range(branch.answer, length):
            previous = place + offset - 1 if offset else before
            if previous < 0:
                raise ValueError("the first token of a row follows nothing; let its answer begin later")
            source.append(previous)
            target.append(int(branch.ids[offset]))
            weight.append(branch.weights[offset - branch.answer] if branch.weights else 1.0)
            task.append(names.index(branch.task))
            answer.append(number)
        end[number], last[number] = first + length, stop - 1 if length else before
        place = stop
    mask = sees[owner][:, owner] & (positions[:, None] >= positions[None, :])
    mask &= (owner[:, None] >= 0) & (owner[None, :] >= 0)
    np.fill_diagonal(mask, True)  # padding sees itself: no row of the mask may be empty
    return _Part(
        ids,
        positions,
        mask,
        np.array(source, np.int64),
        np.array(target, np.int64),
        np.array(weight, np.float32),
        np.array(task, np.int64),
        np.array(answer, np.int64),
    )
