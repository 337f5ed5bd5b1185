"""The user's folder of verified weights: one folder an entry, with a stamp that says what was verified.

Layout: ``<cache>/weights/<name>/<files>`` and ``.stamp.json`` inside it. A folder appears by one rename, so it is
whole or absent. Reading writes nothing, so a read-only cache that was filled by someone else works.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcausal.cache import cache_root, sha256_of, write_atomic
from vidcausal.errors import OutputError, WeightsIntegrityError
from vidcausal.models.weights.manifest import WeightsEntry

logger = logging.getLogger(__name__)
_STAMP = ".stamp.json"
_ADVICE = "set VIDCAUSAL_CACHE to a writable folder"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a stored folder holds: ``files`` maps a name to its sha256, size and modification time (ns)."""

    fingerprint: str
    files: dict[str, tuple[str, int, int]]


def weights_root() -> Path:
    """``<cache>/weights``."""
    return cache_root() / "weights"


def folder_of(name: str) -> Path:
    """Where the entry called ``name`` is stored, whether it is there or not."""
    return weights_root() / name


def stored_files(entry: WeightsEntry) -> dict[str, Path] | None:
    """The stored files of ``entry`` by name; None where they are absent or belong to an older manifest.

    Sizes and modification times are compared with the stamp. A file that was touched is hashed again.

    Raises:
        WeightsIntegrityError: a stored file was changed.
    """
    folder = folder_of(entry.name)
    stamp = _read_stamp(folder)
    if stamp is None or stamp.fingerprint != entry.fingerprint or not stamp.files:
        return None
    found, touched = {}, False
    for name, (sha256, size, mtime) in stamp.files.items():
        path = folder / name
        try:
            now = path.stat()
        except OSError:
            return None
        if now.st_size != size:
            raise _changed(entry, path, f"has {now.st_size} bytes instead of {size}")
        if now.st_mtime_ns != mtime:
            touched = True
            if sha256_of(path) != sha256:
                raise _changed(entry, path, "has another sha256 than when it was stored")
        found[name] = path
    if touched:
        _restamp(folder, stamp)
    return found


def _changed(entry: WeightsEntry, path: Path, how: str) -> WeightsIntegrityError:
    return WeightsIntegrityError(f"{path} {how}; delete {path.parent} and run: vidcausal models --get {entry.name}")


def _restamp(folder: Path, stamp: Stamp) -> None:
    files = {name: (sha, size, (folder / name).stat().st_mtime_ns) for name, (sha, size, _) in stamp.files.items()}
    try:
        _write_stamp(folder, Stamp(stamp.fingerprint, files))
    except OutputError:
        logger.debug("cannot renew the stamp in %s; its files will be hashed again", folder)


def _read_stamp(folder: Path) -> Stamp | None:
    try:
        raw = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
        return Stamp(raw["fingerprint"], {name: (f[0], int(f[1]), int(f[2])) for name, f in raw["files"].items()})
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _write_stamp(folder: Path, stamp: Stamp) -> None:
    content: dict[str, Any] = {"fingerprint": stamp.fingerprint, "files": {k: list(v) for k, v in stamp.files.items()}}
    write_atomic(folder / _STAMP, json.dumps(content, indent=1).encode())


@contextmanager
def staging(entry: WeightsEntry) -> Iterator[Path]:
    """An empty folder on the store's own disk, removed at the end unless :func:`publish` took it.

    To be used under :func:`locked`: what a killed process left behind is removed.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    root = weights_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        for abandoned in root.glob(f".staging-{entry.name}--*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f".staging-{entry.name}--", dir=root))
    except OSError as error:
        raise OutputError.at(root, error, _ADVICE) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(entry: WeightsEntry, staged: Path) -> None:
    """Stamp the files under ``staged`` and make them the stored folder of ``entry`` by one rename."""
    files = {}
    for path in sorted(p for p in staged.rglob("*") if p.is_file()):
        if not path.is_symlink():
            path.chmod(0o644)  # a shared cache is read by other users
        stat = path.stat()
        files[path.relative_to(staged).as_posix()] = (sha256_of(path), stat.st_size, stat.st_mtime_ns)
    _write_stamp(staged, Stamp(entry.fingerprint, files))
    os.chmod(staged, 0o755)
    target = folder_of(entry.name)
    if target.exists():
        stale = Path(tempfile.mkdtemp(prefix=f".staging-{entry.name}--old.", dir=target.parent))
        os.rename(target, stale / "old")
        os.rename(staged, target)
        shutil.rmtree(stale, ignore_errors=True)
    else:
        os.rename(staged, target)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process (or thread) at a time stores the entry called ``name``; the others wait here."""
    root = weights_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / f".{name}.lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise OutputError.at(root, error, _ADVICE) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process is getting %s; waiting for it", name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
