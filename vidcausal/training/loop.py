"""The training loop: mixed precision, accumulation, averages, and checkpoints from which it goes on exactly.

What a step learns from is a function of the step alone and nothing in the model is random, so a run that was killed and
started again has the same losses as one that was not.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from vidcausal.cache import make_folder
from vidcausal.errors import ModelError, OutputError, RunFolderError, UnknownNameError, first_line
from vidcausal.training.attention import additive, use_dense_attention
from vidcausal.training.distributed import Processes
from vidcausal.training.mixture import Mixture
from vidcausal.training.objectives import Batch, Trainee, Weights
from vidcausal.training.optim import Average, build_optimizers, schedule

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Recipe:
    """How to train.

    ``steps`` optimizer steps; every step learns from the batches of :class:`Mixture`, one after the other (that is
    the accumulation). Learning rates rise over ``warmup`` steps and fall as a cosine. ``clip`` is the largest norm of
    the gradient. ``average`` is the decay of the moving average that is saved as the model. ``precision`` is
    ``auto`` (bfloat16 where the machine computes it), ``bfloat16`` or ``float32``. ``checkpoint_every`` steps the
    state is written. ``workers`` processes make the rows.
    """

    steps: int
    muon_lr: float = 0.02
    adam_lr: float = 1.5e-3
    weight_decay: float = 0.01
    warmup: int = 60
    clip: float = 1.0
    average: float = 0.998
    precision: str = "auto"
    checkpoint_every: int = 100
    log_every: int = 10
    workers: int = 1


class Run:
    """One training in one folder.

    Args:
        trainee: what is trained, on its device.
        mixture: the rows.
        recipe: how.
        weights: of the losses.
        folder: gets ``checkpoint.pt``, ``metrics.jsonl`` and TensorBoard's files.
        identity: what decides the result; a checkpoint of another is refused.
        processes: how many share the work.

    Raises:
        RunFolderError: the folder holds the checkpoint of another training.
    """

    def __init__(
        self,
        trainee: Trainee,
        mixture: Mixture,
        recipe: Recipe,
        weights: Weights,
        folder: str | Path,
        *,
        identity: str = "",
        processes: Processes | None = None,
    ) -> None:
        self.trainee, self.mixture, self.recipe, self.weights = trainee, mixture, recipe, weights
        self.folder, self.identity, self.processes = Path(folder), identity, processes or Processes()
        self.device = next(trainee.parameters()).device
        self.optimizers = build_optimizers(
            trainee, muon_lr=recipe.muon_lr, adam_lr=recipe.adam_lr, weight_decay=recipe.weight_decay
        )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
        self.average = Average(trainee, recipe.average)
        self.bfloat16 = _bfloat16(recipe.precision, self.device)
        self.step = 0
        if self.device.type == "cpu":
            use_dense_attention(trainee.language)
        make_folder(self.folder)
        self._load()

    def train(self, *, until: int | None = None) -> None:
        """Go on to the end, or to step ``until``.

        Raises:
            ModelError: a loss that is no number.
            OutputError: the folder cannot be written.
        """
        last = min(self.recipe.steps, self.recipe.steps if until is None else until)
        self.mixture.first_step, self.mixture.steps = self.step, self.recipe.steps
        self.trainee.train()
        with _Log(self.folder, self.step, active=self.processes.is_first) as log:
            for batches in self._loader():
                if self.step >= last:
                    break
                began = time.perf_counter()
                parts = self._update(batches)
                self.step += 1
                if self.step % self.recipe.log_every == 0 or self.step == last:
                    log.write(self.step, {**parts, "seconds": time.perf_counter() - began})
                if self.step % self.recipe.checkpoint_every == 0 or self.step == last:
                    self.save()

    def _loader(self) -> Iterator[list[Batch]]:
        from torch.utils.data import DataLoader

        loader = DataLoader(
            self.mixture,
            batch_size=None,
            num_workers=self.recipe.workers,
            prefetch_factor=4 if self.recipe.workers else None,
            worker_init_fn=_one_thread if self.recipe.workers else None,
        )
        return iter(loader)

    def _update(self, batches: list[Batch]) -> dict[str, float]:
        factor = schedule(self.step, self.recipe.steps, warmup=self.recipe.warmup)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
        found: dict[str, float] = {}
        for batch in batches:
            losses = self._losses(batch)
            losses.total.backward()
            found |= {name if name not in found else f"{name} ({batch.kind})": v for name, v in losses.parts.items()}
            found["loss"] = found.get("loss", 0.0) + float(losses.total.detach())
        self.processes.average_gradients(self.trainee)
        norm = torch.nn.utils.clip_grad_norm_(self.trainee.parameters(), self.recipe.clip)
        if not bool(torch.isfinite(norm)):
            raise ModelError(
                f"the gradient of step {self.step} is {float(norm)}; start again from the last checkpoint with lower "
                "learning rates"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.trainee)
        return {**found, "norm": float(norm), "lr": factor}

    def _losses(self, batch: Batch) -> Any:
        moved = _to(batch, self.device)
        kind = torch.bfloat16 if self.bfloat16 else torch.float32
        moved = moved._replace(packed=moved.packed._replace(mask=additive(moved.packed.mask, kind)))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.trainee(moved, self.weights)

    # ---- state ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write everything that going on needs; a crash in between leaves the checkpoint before.

        Raises:
            OutputError: it cannot be written.
        """
        if not self.processes.is_first:
            return
        state = {
            "identity": self.identity,
            "step": self.step,
            "trainee": self.trainee.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.state_dict(),
        }
        path = self.folder / CHECKPOINT
        fresh = path.with_suffix(".new")
        try:
            torch.save(state, fresh)
            os.replace(fresh, path)
        except OSError as error:
            raise OutputError.at(path, error) from error
        except RuntimeError as error:  # what torch makes of a full disk
            raise OutputError(f"{path} cannot be written: {first_line(error)}") from error

    def _load(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["identity"] != self.identity:
            raise RunFolderError(
                f"{path} belongs to a training with other settings; choose another folder, or remove it to start anew"
            )
        self.trainee.load_state_dict(state["trainee"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average.load_state_dict(state["average"])
        self.step = int(state["step"])
        logger.info("%s: going on at step %d", path, self.step)


class _Log:
    """``metrics.jsonl``, TensorBoard where it is installed, and a line for the reader."""

    def __init__(self, folder: Path, step: int, *, active: bool) -> None:
        self._path, self._active = folder / METRICS, active
        self._file: IO[str] | None = None
        self._board: Any = None
        if active:
            _forget_after(self._path, step)

    def __enter__(self) -> _Log:
        if self._active:
            self._file = self._path.open("a", encoding="utf-8")
            try:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(self._path.parent))
            except ImportError:
                logger.info("TensorBoard is not installed (pip install tensorboard); %s has the losses", self._path)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **{key: round(value, 5) for key, value in values.items()}}) + "\n")
        self._file.flush()
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key.replace(" ", "_"), value, step)
        logger.info("step %d: loss %.3f, %.2f s", step, values.get("loss", 0.0), values.get("seconds", 0.0))


def _forget_after(path: Path, step: int) -> None:
    """Leave out lines of steps that will be done again."""
    if path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _bfloat16(precision: str, device: torch.device) -> bool:
    if precision not in ("auto", "bfloat16", "float32"):
        raise UnknownNameError("precision", precision, ("auto", "bfloat16", "float32"))
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_to(part, device) for part in value))
    return value


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
