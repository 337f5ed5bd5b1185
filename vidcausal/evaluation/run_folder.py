"""The folder of a run: predictions that survive a killed process, and never those of another configuration.

::

    runs/<name>/<time>/
        run.json            what decides the predictions; another run may only continue this folder if it is equal
        predictions.jsonl   a line a sample, appended and fsynced
        media/<n>.json      thumbnails of the first samples
        evaluate.log  report.json  report.html  .hydra/

A kill can tear only the last line of ``predictions.jsonl``; it is cut off when the folder is opened again, and that
sample is answered once more.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from vidcausal.cache import write_atomic
from vidcausal.errors import DataError, OutputError, RunFolderError

logger = logging.getLogger(__name__)

_ADVICE = "choose another output_dir"


class RunFolder:
    """An open run folder; one process at a time has it. Use it in a ``with`` block.

    Args:
        path: made if it is not there.
        identity: everything that decides the predictions, nested plain values. Compared with what an earlier run
            left in ``run.json``.
        resume: False refuses a folder that already has predictions.
        retry_errors: True drops the rows that hold an error, so that their samples are answered again.

    Raises:
        OutputError: the folder cannot be written.
        RunFolderError: another process writes here, the folder is of another configuration, or it has predictions
            and ``resume`` is False.
        DataError: a line before the last one is not a prediction.
    """

    def __init__(
        self, path: str | Path, identity: Mapping[str, Any], *, resume: bool = True, retry_errors: bool = False
    ) -> None:
        self.path = Path(path)
        self.predictions = self.path / "predictions.jsonl"
        self._lock = _lock(self.path)
        self._file = -1
        try:
            self._check(identity)
            self.done: set[str] = self._recover(retry_errors)
            if self.done and not resume:
                raise RunFolderError(
                    f"{self.path} already has {len(self.done)} predictions; choose another output_dir, "
                    "or resume=true to continue"
                )
            self._file = os.open(self.predictions, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            self.close()
            raise OutputError.at(self.path, error, _ADVICE) from error
        except BaseException:
            self.close()
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one prediction; it is on the disk when this returns.

        Raises:
            RunFolderError: the id is already there.
            OutputError: the disk is full or gone; the file is left as it was before.
        """
        if row["id"] in self.done:
            raise RunFolderError(f"{self.predictions} already has a prediction for {row['id']!r}")
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, before)
            raise OutputError.at(self.predictions, error, _ADVICE) from error
        self.done.add(row["id"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The predictions on the disk, in the order in which they were written."""
        with self.predictions.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def close(self) -> None:
        """Let go of the lock."""
        for handle in (self._file, self._lock):
            if handle >= 0:
                os.close(handle)
        self._file = self._lock = -1

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- opening ------------------------------------------------------------------------------------------------

    def _check(self, identity: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(identity, default=str))
        file = self.path / "run.json"
        if not file.exists():
            if self.predictions.exists() and self.predictions.stat().st_size:
                raise RunFolderError(
                    f"{self.path} has predictions but no run.json that says of which run; choose another output_dir"
                )
            write_atomic(file, json.dumps(wanted, ensure_ascii=False, indent=1).encode() + b"\n")
            return
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunFolderError(f"{file} is not JSON ({error}); choose another output_dir") from error
        if changed := differences(found, wanted):
            raise RunFolderError(
                f"{self.path} holds a run of another configuration: {'; '.join(changed)}. "
                "Choose another output_dir, or change these back to continue it"
            )

    def _recover(self, retry_errors: bool) -> set[str]:
        if not self.predictions.exists():
            return set()
        keep: list[bytes] = []
        done: set[str] = set()
        content = self.predictions.read_bytes()
        lines = content.split(b"\n")
        tail = lines.pop()
        if tail.strip():
            lines.append(tail)
        for number, line in enumerate(lines, start=1):
            row = _parsed(line)
            if row is None and number == len(lines):
                logger.warning("%s ended in a torn line of %d bytes; it was cut off", self.predictions, len(line))
            elif row is None or row["id"] in done:
                problem = "is not a prediction" if row is None else f"repeats the id {row['id']!r}"
                raise DataError(
                    f"line {number} of {self.predictions} {problem}; repair it or choose another output_dir"
                )
            elif not (retry_errors and row.get("error")):
                keep.append(line + b"\n")
                done.add(row["id"])
        kept = b"".join(keep)
        if kept != content:
            write_atomic(self.predictions, kept)
        return done


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Keys in which two nested dicts differ: ``"size is 224, was 336"``."""
    old, new = _flat(found), _flat(wanted)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [f"{key} is {_shown(new.get(key))}, was {_shown(old.get(key))}" for key in keys]


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping) and node:
        return {k: v for key, value in node.items() for k, v in _flat(value, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): node}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("id"), str) else None


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError.at(folder, error, _ADVICE) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise RunFolderError(
            f"another process is writing into {folder}; wait for it, or choose another output_dir"
        ) from error
    return handle
