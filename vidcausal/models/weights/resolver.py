"""Named weights on this machine: found, verified, and fetched when asked to.

``resolve("smollm2-135m-instruct")`` gives paths of verified files. The network is used only with ``download=True``;
afterwards the store answers offline. Neither torch nor transformers is imported unless a download must be converted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vidcausal.cache import digest, sha256_of
from vidcausal.errors import MissingWeightsError, OutputError, WeightsError, WeightsIntegrityError
from vidcausal.models.weights.fetch import fetch_local, fetch_remote, local_folder, verify
from vidcausal.models.weights.formats import check_format
from vidcausal.models.weights.manifest import FileSpec, WeightsEntry, load_entry, names
from vidcausal.models.weights.store import folder_of, locked, publish, staging, stored_files

logger = logging.getLogger(__name__)
_PACKAGE_DATA = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Weights:
    """Verified files. ``digest`` names their content: equal on every machine that has the same weights."""

    name: str
    folder: Path
    files: Mapping[str, Path]
    digest: str

    def path(self, file: str) -> Path:
        """Path of one file.

        Raises:
            WeightsError: these weights have no such file.
        """
        if file not in self.files:
            raise WeightsError(
                f"weights {self.name!r} have no file {file!r}; they have {', '.join(sorted(self.files))}"
            )
        return self.files[file]


@dataclass(frozen=True)
class WeightsStatus:
    """An entry and whether it can be used now. ``problem`` says what is wrong with files that are there."""

    entry: WeightsEntry
    present: bool
    where: Path | None
    problem: str = ""

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.entry.name


def resolve(name: str, *, download: bool = False) -> Weights:
    """The verified files of the weights called ``name``.

    Args:
        name: an entry of :func:`list_weights`.
        download: fetch what is not here; otherwise nothing reaches the network.

    Raises:
        UnknownNameError: there is no such entry.
        MissingWeightsError: not on this machine; the message is the one line that gets them.
        WeightsIntegrityError: a file differs from the manifest.
        ForbiddenWeightsError: a source offered a format that can run code.
        OutputError: the cache folder cannot be written.
    """
    entry = load_entry(name)
    if entry.kind == "package-data":
        return _package_data(entry)
    files = _stored(entry, ignore_damage=download)
    if files is None:
        origin = local_folder(entry)
        if origin is None and not download:
            raise MissingWeightsError(missing_message(entry))
        files = _store(entry, origin, ignore_damage=download)
    return Weights(name, _folder(files), files, entry.fingerprint)


def missing_message(entry: WeightsEntry) -> str:
    """The line that says how to get ``entry``."""
    return (
        f"weights {entry.name!r} are not on this machine; get them with: "
        f"vidcausal models --get {entry.name} ({human_size(entry.size)}, {entry.license})"
    )


def human_size(size: int) -> str:
    """Bytes as people say them: ``93 MB``, ``1.1 GB``."""
    if size >= 1_000_000_000:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1_000_000 else f"{size / 1e3:.0f} kB"


def list_weights() -> list[WeightsStatus]:
    """Every entry and whether it is on this machine; reads names, sizes and times only."""
    return [_status(load_entry(name)) for name in names()]


def weights_table() -> list[dict[str, object]]:
    """Rows for people and for ``--json``: name, what, kind, license, size, present, path, get."""
    rows: list[dict[str, object]] = []
    for status in list_weights():
        entry = status.entry
        fetch = f"vidcausal models --get {entry.name}" if entry.sources else "part of the package"
        rows.append(
            {
                "name": entry.name,
                "what": entry.what,
                "kind": "opt-in" if entry.opt_in else entry.kind,
                "license": entry.license,
                "notice": entry.notice,
                "size": entry.size,
                "present": status.present,
                "path": str(status.where) if status.where else None,
                "problem": status.problem,
                "get": fetch,
            }
        )
    return rows


def _status(entry: WeightsEntry) -> WeightsStatus:
    try:
        if entry.kind == "package-data":
            return WeightsStatus(entry, True, _package_data(entry).folder)
        if files := stored_files(entry):
            return WeightsStatus(entry, True, _folder(files))
    except WeightsError as error:
        return WeightsStatus(entry, False, None, str(error))
    origin = local_folder(entry)
    return WeightsStatus(entry, origin is not None, origin)


def _folder(files: Mapping[str, Path]) -> Path:
    name, path = next(iter(files.items()))
    return path.parents[name.count("/")]


def _stored(entry: WeightsEntry, *, ignore_damage: bool) -> dict[str, Path] | None:
    try:
        return stored_files(entry)
    except WeightsIntegrityError:
        if not ignore_damage:
            raise
        logger.warning("stored %s are damaged and are fetched again", entry.name)
        return None


def _store(entry: WeightsEntry, origin: Path | None, *, ignore_damage: bool) -> dict[str, Path]:
    """Fetch, verify, convert and publish, unless another process did so meanwhile."""
    try:
        with locked(entry.name):
            if files := _stored(entry, ignore_damage=ignore_damage):
                return files
            _build(entry, origin)
    except OutputError:
        if origin is None or entry.convert is not None:
            raise
        return _in_place(entry, origin)
    files = stored_files(entry)
    if files is None:
        raise WeightsError(f"weights {entry.name!r} vanished from {folder_of(entry.name)} while they were being stored")
    return files


def _build(entry: WeightsEntry, origin: Path | None) -> None:
    with staging(entry) as staged:
        if origin is not None:
            fetch_local(entry, origin, staged)
        else:
            logger.info("getting %s (%s, %s)", entry.name, human_size(entry.size), entry.license)
            fetch_remote(entry, staged)
        if entry.convert is None:
            publish(entry, staged)
            return
        converted = staged / "converted"
        _convert(entry, staged, converted)
        publish(entry, converted)


def _convert(entry: WeightsEntry, staged: Path, target: Path) -> None:
    """Run the entry's conversion; what is not its input (a license, a tokenizer) is carried over."""
    assert entry.convert is not None
    target.mkdir()
    source = staged / entry.convert.source
    logger.info("converting %s (%s)", entry.name, entry.convert.how)
    if entry.convert.how == "gguf":
        from vidcausal.models.weights.gguf_convert import gguf_to_folder

        gguf_to_folder(source, target)
    else:
        from vidcausal.models.weights.torch_convert import state_dict_to_safetensors

        state_dict_to_safetensors(source, target / entry.convert.outputs[0].name)
    source.unlink()
    for spec in entry.convert.outputs:
        verify(target / spec.name, spec, entry)
    for path in target.glob("*.safetensors"):
        check_format(path, "safetensors")
    for other in entry.files:
        if other.name != entry.convert.source:
            (staged / other.name).rename(target / other.name)


def _in_place(entry: WeightsEntry, origin: Path) -> dict[str, Path]:
    """A local folder used where it lies because the store cannot be written; hashed on every call."""
    for spec in entry.files:
        verify(origin / spec.name, spec, entry)
    return {spec.name: origin / spec.name for spec in entry.files}


def _package_data(entry: WeightsEntry) -> Weights:
    files = {spec.name: _PACKAGE_DATA / spec.name for spec in entry.files}
    hashes = []
    for spec in entry.files:
        hashes.append(f"{spec.name}:{_verified_hash(entry, spec, files[spec.name])}")
    return Weights(entry.name, _PACKAGE_DATA, files, digest(entry.name, *hashes))


def _verified_hash(entry: WeightsEntry, spec: FileSpec, path: Path) -> str:
    if not path.is_file():
        raise MissingWeightsError(
            f"weights {entry.name!r} are part of the package and {spec.name} is not in it; reinstall vidcausal"
        )
    verify(path, spec, entry)
    return sha256_of(path)
