"""Which files may be loaded, told by their first bytes: containers of numbers, never anything that can run code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from vidcausal.errors import ForbiddenWeightsError, WeightsIntegrityError

PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin", ".npy", ".npz", ".h5"})
_MAX_HEADER = 100_000_000


def check_format(path: Path, kind: str, *, name: str | None = None) -> None:
    """Refuse ``path`` unless its content is what ``kind`` says and ``kind`` is one that cannot run code.

    Args:
        path: the file, which may have a temporary name.
        kind: a key of :data:`FORMATS`.
        name: the file's own name, for its suffix and for messages.

    Raises:
        ForbiddenWeightsError: a pickle, a zip (torch's container of a pickle) or a format that is not allowed.
        WeightsIntegrityError: the right kind of file, cut short or malformed.
    """
    name = name or path.name
    if kind not in FORMATS or (Path(name).suffix in PICKLE_SUFFIXES and kind != "ctranslate2"):
        raise ForbiddenWeightsError(
            f"{name}: {kind or 'this format'} can run code when it is loaded or is unknown; "
            f"allowed are {', '.join(sorted(FORMATS))} (safetensors for anything trained with torch)"
        )
    with path.open("rb") as file:
        head = file.read(4096)
    if looks_like_pickle(head):
        raise ForbiddenWeightsError(f"{name} is a pickle or a zip under another name; it is refused unread")
    FORMATS[kind](path, name, head)


def looks_like_pickle(head: bytes) -> bool:
    """Whether the first bytes are those of a pickle (protocol 2 to 5) or of a zip archive (torch.save)."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")


def _safetensors(path: Path, name: str, head: bytes) -> None:
    size, length = path.stat().st_size, int.from_bytes(head[:8], "little")
    if len(head) < 8 or not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise WeightsIntegrityError(
            f"{name} is not a whole safetensors file: its header claims {length} of {size} bytes"
        )
    with path.open("rb") as file:
        file.seek(8)
        raw = file.read(length)
    try:
        header = json.loads(raw)
        ends = [int(value["data_offsets"][1]) for key, value in header.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsIntegrityError(f"{name} has a malformed safetensors header: {error}") from error
    if max(ends, default=0) != size - 8 - length:
        raise WeightsIntegrityError(
            f"{name} should hold {max(ends, default=0)} bytes of tensors and holds {size - 8 - length}; get it again"
        )


def _gguf(path: Path, name: str, head: bytes) -> None:
    if head[:4] != b"GGUF":
        raise WeightsIntegrityError(f"{name} does not begin with the GGUF mark")


def _onnx(path: Path, name: str, head: bytes) -> None:
    # A ModelProto begins with field 1 (ir_version, varint): the byte 0x08 and a small number.
    if head[:1] != b"\x08" or not 1 <= head[1] <= 20:
        raise WeightsIntegrityError(f"{name} does not begin as an ONNX model")


def _ctranslate2(path: Path, name: str, head: bytes) -> None:
    # The file begins with its binary version, a small little-endian uint32.
    if len(head) < 8 or not 1 <= int.from_bytes(head[:4], "little") <= 100:
        raise WeightsIntegrityError(f"{name} does not begin as a CTranslate2 model")


def _json(path: Path, name: str, head: bytes) -> None:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsIntegrityError(f"{name} is not JSON: {error}") from error


def _txt(path: Path, name: str, head: bytes) -> None:
    if b"\0" in head:
        raise WeightsIntegrityError(f"{name} should be text and holds zero bytes")


FORMATS: dict[str, Callable[[Path, str, bytes], None]] = {
    "safetensors": _safetensors,
    "gguf": _gguf,
    "onnx": _onnx,
    "ctranslate2": _ctranslate2,
    "json": _json,
    "txt": _txt,
}
"""Allowed formats and what must be true of a file of each."""
