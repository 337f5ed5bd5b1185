"""The folder that a world is made into: whose it is, what is finished, and what may be removed.

``world.json`` says which world, split, seeds and settings the folder holds. It is written before anything else, with
``"status": "in progress"``, and once more at the end with ``"complete"``. A folder without it is somebody else's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidcausal._version import __version__
from vidcausal.cache import make_folder, write_json
from vidcausal.errors import OutputError, RunFolderError, VidcausalError
from vidcausal.worlds.annotations import FILE, sample_id, video_path
from vidcausal.worlds.formats import FORMATS, load_format

MANIFEST = "world.json"
MADE_BY = "vidcausal worlds make"
FIRST_SEEDS = 10**6
"""Sample i of ``seed`` is told from the story seed ``seed * FIRST_SEEDS + i``."""
_ADVICE = "choose another --out, or a folder that can be written and has free space"
_TOP = (MANIFEST, FILE, "videos", "formats")


class WorldFolder:
    """An open folder; one process at a time has it.

    Args:
        path: made if it is not there.
        settings: everything that decides the content.
        force: remove what an earlier making wrote here, whatever its settings, and begin anew.

    Raises:
        RunFolderError: the folder holds another world or other settings, or another process writes into it.
        OutputError: it cannot be written, or holds files that are not ours.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any], *, force: bool = False) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))
        self.annotations = self.path / FILE
        make_folder(self.path, _ADVICE)
        self._lock = _lock(self.path)
        try:
            with _told(self.path):
                self._claim(force)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def manifest(self) -> dict[str, Any] | None:
        """What ``world.json`` says; None where there is none.

        Raises:
            OutputError: it is not one of ours.
        """
        file = self.path / MANIFEST
        if not file.exists():
            return None
        with contextlib.suppress(ValueError):
            value = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(value, dict) and value.get("made_by") == MADE_BY and isinstance(value.get("settings"), dict):
                return value
        raise OutputError(f"{file} was not written by {MADE_BY}, so nothing in {self.path} is touched; {_ADVICE}")

    def write_manifest(self, status: str, **more: Any) -> dict[str, Any]:
        """Write ``world.json`` and return what it says."""
        value = {"made_by": MADE_BY, "version": __version__, "status": status, "settings": self.settings, **more}
        write_json(self.path / MANIFEST, value, indent=1)
        return value

    # ---- whose it is --------------------------------------------------------------------------------------------

    def _claim(self, force: bool) -> None:
        found = self.manifest()
        if found is None:
            self._check_foreign(force)
        elif force:
            self._remove(found["settings"])
            self._check_foreign(force)
        elif changed := differences(found["settings"], self.settings):
            raise RunFolderError(
                f"{self.path} holds the world {found['settings'].get('world')!r} with other settings: "
                f"{'; '.join(changed)}. Choose another --out, or change these back to continue it; --force removes "
                "what was made there and begins anew"
            )
        else:
            self._remove_half_written()
            return
        self.write_manifest("in progress")

    def _check_foreign(self, force: bool) -> None:
        names = sorted(entry.name for entry in self.path.iterdir())
        if not names:
            return
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        if not force:
            raise OutputError(
                f"{self.path} is not empty ({shown}) and has no {MANIFEST}; choose another --out, or --force to write "
                "beside these files, which stay as they are"
            )
        if taken := [name for name in _TOP if name in names]:
            raise OutputError(
                f"{self.path / taken[0]} is in the way and was not written by {MADE_BY}, so --force does not touch it; "
                "choose another --out, or move it away"
            )

    def _remove(self, settings: Mapping[str, Any]) -> None:
        """Everything that a making with these settings writes; ``world.json`` last, then folders that are empty."""
        identities = [sample_id(settings["world"], settings["split"], seed) for seed in story_seeds(settings)]
        self._remove_half_written()
        self.annotations.unlink(missing_ok=True)
        for identity in identities:
            (self.path / video_path(identity)).unlink(missing_ok=True)
        for name in [name for name in settings["formats"] if name in FORMATS]:
            for file in load_format(name).FILES:
                (self.path / "formats" / name / file).unlink(missing_ok=True)
        for number in range(1, len(identities) + 1):
            (self.path / f"formats/vcrbench/videos/video_{number}.mp4").unlink(missing_ok=True)
        (self.path / MANIFEST).unlink(missing_ok=True)
        folders = [f"formats/{name}" for name in settings["formats"]]
        for folder in ("videos", "formats/vcrbench/videos", *folders, "formats"):
            with contextlib.suppress(OSError):  # not there, or not empty because of files that are not ours
                (self.path / folder).rmdir()

    def _remove_half_written(self) -> None:
        """What a kill in the middle of a write left: temporary neighbors of files with our names."""
        patterns = (".world.json.*", f".{FILE}.*", "videos/.*.mp4.*.mp4", "formats/vcrbench/videos/.video_*.mp4.*.mp4")
        for pattern in (*patterns, *(f"formats/{name}/.*" for name in FORMATS)):
            for path in self.path.glob(pattern):
                if path.is_file():
                    path.unlink(missing_ok=True)


def story_seeds(settings: Mapping[str, Any]) -> range:
    """The story seeds of a folder: those of different ``seed`` never overlap."""
    first = int(settings["seed"]) * FIRST_SEEDS
    return range(first, first + int(settings["n"]))


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Settings that differ: ``"size is 64, was 224"``."""
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return [f"{key} is {wanted.get(key)!r}, was {found.get(key)!r}" for key in keys]


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses, as an error of ours that names the path."""
    try:
        yield
    except VidcausalError:
        raise
    except OSError as error:
        raise OutputError.at(error.filename or path, error, _ADVICE) from error


def _lock(folder: Path) -> int:
    """A lock on the folder itself, which leaves no file behind; -1 on file systems that lock no folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise RunFolderError(
            f"another process is making a world in {folder}; wait for it or choose another --out"
        ) from error
    except OSError:
        os.close(handle)
        return -1
    return handle
