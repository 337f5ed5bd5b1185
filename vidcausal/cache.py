"""A small content-addressed store on disk: features, records, thumbnails.

A key is any text; it should name everything the value depends on (media digest, plan, size, backend, weights
digest). Writes go to a temporary file in the same folder and are renamed, so a killed process leaves no torn entry.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import OutputError


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
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose a writable folder") from error


class DiskCache:
    """Values by key under ``root/kind/ab/abcdef….{npz,json}``. A damaged entry counts as absent."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else cache_root() / "store"
        self.hits = 0
        self.misses = 0

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
        write_atomic(self._path(kind, key, ".npz"), buffer.getvalue())

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
        write_atomic(self._path(kind, key, ".json"), json.dumps(value, ensure_ascii=False).encode())
