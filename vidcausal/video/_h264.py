"""Which H.264 key frames decoding can really start from.

A container marks recovery points as key frames too. With periodic intra refresh such a point is a P picture whose
successors become whole only many frames later, and FFmpeg shows them too early, as garbage without an error. A
picture that starts with an IDR or an I slice is safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_START_CODE = re.compile(rb"\x00\x00\x01")
_SLICE, _IDR = 1, 5
_PARTITION_A = 2
_INTRA_TYPES = frozenset({2, 4, 7, 9})
"""``slice_type`` of I and SI slices (ITU-T H.264 table 7-6)."""


def starts_decoding(packet: bytes | memoryview, extradata: bytes | None) -> bool:
    """True when the first slice of an access unit is intra coded; also when there is no slice to judge by.

    Args:
        packet: one access unit, with start codes or with length prefixes.
        extradata: the stream's configuration record; it says how long the length prefixes are.
    """
    for start in _units(packet, extradata):
        kind = packet[start] & 31
        if kind == _IDR:
            return True
        if kind in (_SLICE, _PARTITION_A):
            return _slice_type(bytes(packet[start + 1 : start + 17])) in _INTRA_TYPES
    return True


def _units(packet: bytes | memoryview, extradata: bytes | None) -> Iterator[int]:
    """Offset of every NAL unit's header byte."""
    end = len(packet)
    if extradata and len(extradata) > 4 and extradata[0] == 1:
        prefix = (extradata[4] & 3) + 1
        at = 0
        while at + prefix < end:
            yield at + prefix
            at += prefix + int.from_bytes(packet[at : at + prefix], "big")
    else:
        for match in _START_CODE.finditer(packet):
            if match.end() < end:
                yield match.end()


def _slice_type(head: bytes) -> int:
    """Second Exp-Golomb number of a slice header (the first is the address of its first macroblock)."""
    bits = "".join(f"{byte:08b}" for byte in head)
    at = 0
    value = -1
    for _ in range(2):
        zeros = 0
        while at + zeros < len(bits) and bits[at + zeros] == "0":
            zeros += 1
        stop = at + 2 * zeros + 1
        if stop > len(bits):
            return -1
        value = int(bits[at + zeros : stop], 2) - 1
        at = stop
    return value
