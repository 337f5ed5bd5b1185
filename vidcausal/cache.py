"""A small content-addressed store on disk: features, records, thumbnails.

A key is any text; it should name everything the value depends on (media digest, plan, size, backend, weights
digest). Writes go to a temporary file in the same folder and are renamed, so a killed process leaves no torn entry.
What the store is made of (hashes, atomic writes) is public, because runs and weights need it too.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import OutputError

logger = logging.getLogger(__name__)

_EDGE = 1 << 20


def cache_root() -> Path:
    """``$VIDCAUSAL_CACHE``, else ``$XDG_CACHE_HOME/vidcausal``, else ``~/.cache/vidcausal``."""
    if explicit := os.environ.get("VIDCAUSAL_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidcausal"


def digest(*parts: str) -> str:
    """sha256 of the parts, as 64 hexadecimal digits; parts are length-prefixed, so no two lists collide."""
    h = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        h.update(len(raw).to_bytes(8, "big") + raw)
    return h.hexdigest()


def seed_of(*parts: str) -> int:
    """A seed (60 bits) that depends on the parts alone, for generators that must draw the same in every process."""
    return int(digest(*parts)[:15], 16)


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, read in pieces."""
    h = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def edges_sha256(path: Path) -> str:
    """sha256 of a file's size, first and last megabyte: tells large files apart quickly, proves nothing."""
    size = path.stat().st_size
    h = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        h.update(file.read(_EDGE))
        file.seek(max(0, size - _EDGE))
        h.update(file.read(_EDGE))
    return h.hexdigest()


def make_folder(folder: Path, advice: str = "choose a writable folder") -> None:
    """Make a folder that can be written, its parents too.

    Raises:
        OutputError: it cannot be made or written; the message ends with ``advice``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError.at(folder, error, advice) from error


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Write a JSON value as UTF-8 text, atomically.

    Raises:
        OutputError: the folder cannot be written.
        ValueError: a number that JSON does not have (infinite or not a number).
    """
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False).encode() + b"\n")


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never half of it.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError.at(path, error) from error


class DiskCache:
    """Values by key under ``root/kind/ab/abcdef….{npz,json}``. A damaged entry counts as absent.

    A folder that cannot be written costs time and nothing else: the first refused write is logged as a warning.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else cache_root() / "store"
        self.hits = 0
        self.misses = 0
        self._refused = False

    def _path(self, kind: str, key: str, suffix: str) -> Path:
        name = digest(key)
        return self.root / kind / name[:2] / (name + suffix)

    def get_arrays(self, kind: str, key: str) -> dict[str, NDArray[Any]] | None:
        """Arrays stored under ``key``, or None."""
        try:
            with np.load(self._path(kind, key, ".npz"), allow_pickle=False) as file:
                value = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            self.misses += 1
            return None
        self.hits += 1
        return value

    def put_arrays(self, kind: str, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays under ``key``."""
        buffer = io.BytesIO()
        np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
        self._keep(self._path(kind, key, ".npz"), buffer.getvalue())

    def get_json(self, kind: str, key: str) -> Any | None:
        """The JSON value stored under ``key``, or None."""
        try:
            value = json.loads(self._path(kind, key, ".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.misses += 1
            return None
        self.hits += 1
        return value

    def put_json(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value under ``key``."""
        self._keep(self._path(kind, key, ".json"), json.dumps(value, ensure_ascii=False).encode())

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            write_atomic(path, content)
        except OutputError as error:
            if not self._refused:
                logger.warning("nothing new is kept between runs: %s, or set VIDCAUSAL_CACHE", error)
            self._refused = True
