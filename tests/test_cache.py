from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from vidcausal.cache import DiskCache, digest, make_folder, seed_of, sha256_of, write_atomic, write_json
from vidcausal.errors import OutputError


def test_a_digest_tells_where_one_part_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("ab", "c") == digest("ab", "c")
    assert seed_of("a") != seed_of("b")
    assert 0 <= seed_of("a") < 2**60


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # over two pieces
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_values_come_back_and_a_damaged_one_counts_as_absent(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    cache.put_arrays("kind", "key", {"a": np.arange(3)})
    cache.put_json("kind", "key", {"ü": [1, None]})
    found = cache.get_arrays("kind", "key")
    assert found is not None
    assert found["a"].tolist() == [0, 1, 2]
    assert cache.get_json("kind", "key") == {"ü": [1, None]}
    assert cache.get_json("kind", "other") is None
    for file in tmp_path.rglob("*.*"):
        file.write_bytes(b"{")
    assert cache.get_arrays("kind", "key") is None
    assert cache.get_json("kind", "key") is None
    assert (cache.hits, cache.misses) == (2, 3)


def test_a_cache_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "store")
    with caplog.at_level(logging.WARNING):
        cache.put_json("kind", "key", 1)
        cache.put_arrays("kind", "key", {"a": np.zeros(1)})
    assert cache.get_json("kind", "key") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "VIDCAUSAL_CACHE" in caplog.text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "value.json"
    write_json(target, {"a": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidcausal.cache.os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(target, b"new")
    assert target.read_text() == '{"a": 1}\n'
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/deep.*; choose another one"):
        make_folder(tmp_path / "file" / "deep", "choose another one")
    make_folder(tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep").is_dir()
