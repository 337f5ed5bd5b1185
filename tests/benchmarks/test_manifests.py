"""What manifests say, and what is said of a folder that is held against them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vidcausal.benchmarks import manifests
from vidcausal.cache import sha256_of
from vidcausal.config.presets import available
from vidcausal.errors import DataError, UnknownNameError

PRESETS = [name for name in available("benchmark") if name not in ("questions", "worlds")]


@pytest.mark.parametrize("name", PRESETS)
def test_every_official_benchmark_has_a_manifest(name: str) -> None:
    manifest = manifests.load_manifest(name)
    assert manifest["name"] == name
    assert manifest["title"].strip()
    assert manifest["license"].strip()
    assert manifest["counts"]
    assert all(str(source).startswith("http") for source in manifest["sources"])
    assert manifests.about(name).scorer
    assert manifest["files"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_official_scorer_is_pinned_or_said_to_be_absent(name: str) -> None:
    scorer = manifests.load_manifest(name)["official_scorer"]
    if isinstance(scorer, dict) and scorer.get("files"):
        assert str(scorer["repository"]).startswith("https://"), name
        assert len(str(scorer["commit"])) >= 10, name
        assert set(str(scorer["commit"])) <= set("0123456789abcdef"), name
    else:
        said = scorer.get("note") if isinstance(scorer, dict) else scorer
        assert said, f"{name}: say why there is no official scorer"


@pytest.mark.parametrize("name", PRESETS)
def test_the_files_of_a_manifest(name: str) -> None:
    for entry in manifests.load_manifest(name)["files"]:
        assert str(entry["path"]).strip()
        assert not Path(str(entry["path"])).is_absolute()
        assert ".." not in Path(str(entry["path"])).parts
        assert entry.get("about") or entry.get("origin"), f"{name}: {entry['path']} says nothing of itself"
        if "sha256" in entry:
            assert len(entry["sha256"]) == 64
            assert set(entry["sha256"]) <= set("0123456789abcdef")


@pytest.mark.data
@pytest.mark.parametrize("name", manifests.available())
def test_shared_files_have_the_recorded_hashes_and_counts(name: str, shared_data: Path) -> None:
    root = shared_data / "annotations"
    checks = {found.path: found for found in manifests.check(name, root)}
    for entry in manifests.load_manifest(name)["files"]:
        if "sha256" not in entry:
            continue
        found = checks[str(entry["path"])]
        assert found.status != "differs", found
        elsewhere = [place for place in root.glob(f"*/{entry['path']}") if sha256_of(place) == entry["sha256"]]
        assert found.status == "ok" or not elsewhere, (
            f"{entry['path']} is in {elsewhere[0]}: name its folder in folders"
        )


@pytest.mark.data
def test_most_of_the_shared_files_are_in_a_manifest(shared_data: Path) -> None:
    named = {entry.get("sha256") for name in manifests.available() for entry in manifests.load_manifest(name)["files"]}
    there = [file for file in sorted((shared_data / "annotations").glob("*/*")) if file.is_file()]
    known = [file for file in there if sha256_of(file) in named]
    assert len(known) > 0.6 * len(there), sorted({str(file) for file in there} - {str(file) for file in known})


# ---- a manifest of the test's own -------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes manifests; returns the folder of data."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "data" / "small").mkdir(parents=True)
    monkeypatch.setattr(manifests, "manifest_dir", lambda: tmp_path / "manifests")
    return tmp_path / "data"


def declare(data: Path, *files: dict[str, Any], **more: Any) -> None:
    content = {
        "name": "small",
        "license": "CC0",
        "sources": ["https://example.org/small"],
        "official_scorer": {
            "repository": "https://example.org/scorer",
            "commit": "0123456789abcdef",
            "files": ["s.py"],
        },
        "files": list(files),
        **more,
    }
    (data.parent / "manifests" / "small.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("file", "content", "count"),
    [
        ("a.json", "[1, 2, 3]", 3),
        ("a.json", '{"a": 1, "b": 2}', 2),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', 2),
        ("a.csv", 'x,y\n1,"two\nlines"\n2,b\n', 2),
        ("a.csv", "", 0),
        ("a.txt", "one\ntwo\n\n", 2),
    ],
)
def test_what_a_file_counts(small: Path, file: str, content: str, count: int) -> None:
    (small / "small" / file).write_text(content)
    digest = hashlib.sha256(content.encode()).hexdigest()
    declare(small, {"path": file, "count": count, "sha256": digest, "bytes": len(content)})
    (found,) = manifests.check("small", small)
    assert found.status == "ok"
    assert f"count {count}" in found.detail
    declare(small, {"path": file, "count": count + 1})
    (found,) = manifests.check("small", small)
    assert (found.status, found.detail) == ("differs", f"count {count}, expected {count + 1}")
    declare(small, {"path": file, "sha256": "0" * 64})
    assert manifests.check("small", small)[0].status == "differs"


def test_missing_absent_and_unchecked(small: Path) -> None:
    (small / "small" / "there.bin").write_bytes(b"x")
    declare(
        small,
        {"path": "needed.json", "origin": "org/repository data/needed.json"},
        {"path": "optional.json", "required": False},
        {"path": "there.bin"},
    )
    found = manifests.check("small", small)
    assert [check.status for check in found] == ["missing", "absent", "unchecked"]
    assert found[0].detail == "org/repository data/needed.json"


def test_files_in_the_folder_of_another_benchmark(small: Path) -> None:
    (small / "other").mkdir()
    (small / "other" / "a.json").write_text("[1]")
    declare(small, {"path": "a.json", "count": 1})
    assert manifests.check("small", small)[0].status == "missing"
    declare(small, {"path": "a.json", "count": 1}, folders=["other"])
    assert manifests.check("small", small)[0].status == "ok"


def test_who_scores_and_under_which_license(small: Path) -> None:
    declare(small)
    about = manifests.about("small")
    assert (about.license, about.sources) == ("CC0", ("https://example.org/small",))
    assert about.scorer == "https://example.org/scorer@0123456789 (s.py)"
    declare(
        small, official_scorer={"repository": "https://example.org", "commit": None, "files": [], "note": "a server"}
    )
    assert manifests.about("small").scorer == "https://example.org: a server"
    declare(small, official_scorer="none is published")
    assert manifests.about("small").scorer == "none is published"
    (small.parent / "manifests" / "small.yaml").write_text(json.dumps({"files": []}))
    with pytest.raises(DataError, match="lacks"):
        manifests.about("small")
    with pytest.raises(UnknownNameError):
        manifests.about("smal")
