"""Is the data what it should be? A folder against ``data_manifests/<benchmark>.yaml``: hashes, sizes, counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vidcausal.cache import sha256_of
from vidcausal.config.presets import manifest_dir
from vidcausal.errors import DataError, UnknownNameError


@dataclass(frozen=True)
class FileCheck:
    """What was found for one entry of a manifest."""

    path: str
    status: Literal["ok", "missing", "absent", "differs", "unchecked"]
    """``absent``: not there and not required. ``unchecked``: there, but the manifest has nothing to compare with."""
    detail: str

    def to_json(self) -> dict[str, str]:
        """Plain dict."""
        return asdict(self)


@dataclass(frozen=True)
class About:
    """Where a benchmark comes from: its sources, its license, who scores it."""

    sources: tuple[str, ...]
    license: str
    scorer: str
    """The official scorer's repository, commit and files, or why there is none."""

    def to_json(self) -> dict[str, Any]:
        """Plain dict."""
        return asdict(self)


def about(benchmark: str) -> About:
    """What the manifest of a benchmark says of it.

    Raises:
        UnknownNameError: it has none.
        DataError: the manifest lacks a part.
    """
    manifest = load_manifest(benchmark)
    try:
        return About(tuple(map(str, manifest["sources"])), str(manifest["license"]), _scorer(manifest))
    except (KeyError, TypeError) as error:
        raise DataError(
            f"data_manifests/{benchmark}.yaml lacks sources, license or official_scorer: {error}"
        ) from error


def _scorer(manifest: Mapping[str, Any]) -> str:
    scorer = manifest["official_scorer"]
    if not isinstance(scorer, Mapping):
        return str(scorer or "none is published")
    files = ", ".join(map(str, scorer.get("files") or ()))
    at = f"{scorer['repository']}@{str(scorer.get('commit') or '')[:10]}".rstrip("@")
    return (f"{at} ({files})" if files else at) + (f": {scorer['note']}" if scorer.get("note") else "")


def available() -> list[str]:
    """Names of the benchmarks that have a manifest."""
    return sorted(path.stem for path in manifest_dir().glob("*.yaml"))


def load_manifest(benchmark: str) -> dict[str, Any]:
    """The manifest of a benchmark.

    Raises:
        UnknownNameError: it has none.
        DataError: the file is not a YAML mapping with ``files``.
    """
    import yaml

    if benchmark not in available():
        raise UnknownNameError("data manifest", benchmark, available())
    path = manifest_dir() / f"{benchmark}.yaml"
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise DataError(f"{path} must be a mapping with a list of files")
    return manifest


def check(benchmark: str, data_dir: Path) -> list[FileCheck]:
    """Every entry of the benchmark's manifest against a folder.

    A path is looked up in ``data_dir``, in ``data_dir/<benchmark>`` and in the manifest's ``folders`` of ``data_dir``.

    Raises:
        UnknownNameError: no manifest of that name.
        DataError: ``data_dir`` is not a folder.
    """
    manifest = load_manifest(benchmark)
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is not a folder; give the folder that holds the benchmark's files")
    folders = ["", benchmark, *map(str, manifest.get("folders") or ())]
    return [_check(entry, [data_dir / folder for folder in folders]) for entry in manifest["files"]]


def _check(entry: Mapping[str, Any], folders: Sequence[Path]) -> FileCheck:
    name = str(entry["path"])
    path = next((folder / name for folder in folders if (folder / name).exists()), None)
    if path is None:
        required = entry.get("required", True)
        origin = str(entry.get("origin") or entry.get("about") or "")
        return FileCheck(name, "missing" if required else "absent", origin)
    wrong: list[str] = []
    right: list[str] = []
    for what, expected, found in _facts(entry, path):
        fact = f"{what} {found}" if what != "sha256" else f"sha256 {str(found)[:12]}…"
        (right if found == expected else wrong).append(fact if found == expected else f"{fact}, expected {expected}")
    if wrong:
        return FileCheck(name, "differs", "; ".join(wrong))
    return FileCheck(name, "ok" if right else "unchecked", "; ".join(right) or f"{path} is there; nothing to compare")


def _facts(entry: Mapping[str, Any], path: Path) -> list[tuple[str, Any, Any]]:
    facts: list[tuple[str, Any, Any]] = []
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        measured: dict[str, Any] = {"count": len(files), "bytes": sum(file.stat().st_size for file in files)}
    else:
        measured = {"bytes": path.stat().st_size}
        if "sha256" in entry:
            measured["sha256"] = sha256_of(path)
        if "count" in entry:
            measured["count"] = _count(path)
    for key in ("sha256", "bytes", "count"):
        if entry.get(key) is not None and key in measured:
            facts.append((key, entry[key], measured[key]))
    return facts


def _count(path: Path) -> int | None:
    """Entries of a JSON list or object, rows of a table (without its header), lines of text; None where none is it."""
    if path.suffix in (".json", ".jsonl", ".csv", ".txt"):
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        if path.suffix == ".csv":
            return max(sum(1 for row in csv.reader(io.StringIO(text)) if row) - 1, 0)
        if path.suffix != ".json":
            return sum(1 for line in text.split("\n") if line.strip())
        try:
            value = json.loads(text)
        except ValueError:
            return None
        return len(value) if isinstance(value, (list, dict)) else None
    return None
