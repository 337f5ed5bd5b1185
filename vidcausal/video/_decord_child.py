"""The process that decord runs in: reads a request, writes frames to a file. Started by path, imports no torch.

Input: the path of a JSON request ``{path, seconds, size, threads, output, reply, alarm}``. Output: raw uint8 RGB
frames ``[k, h, w, 3]`` in ``output`` and a JSON reply in ``reply``. decord can hang with the interpreter locked, so an
alarm that no Python code has to handle ends the process even when the parent is gone.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any

MEMORY = 16 * 2**30
PIECE = 16


def main() -> None:
    """Answer one request."""
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    signal.alarm(request["alarm"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound if soft == resource.RLIM_INFINITY else min(soft, bound), hard))
    try:
        reply = decode(request)
    except Exception as error:  # whatever decord raises must reach the parent as text
        lines = str(error).strip().splitlines()
        reply = {"error": f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]}
    with open(request["reply"], "w", encoding="utf-8") as file:
        json.dump(reply, file)


def decode(request: dict[str, Any]) -> dict[str, Any]:
    """Decode the frames nearest to the requested times; what cannot be had is left out."""
    import decord
    import numpy as np

    height, width = request["size"]
    reader = decord.VideoReader(
        request["path"], ctx=decord.cpu(0), width=width, height=height, num_threads=request["threads"]
    )
    if len(reader) != request["num_frames"]:
        return {
            "error": f"decord counts {len(reader)} frames where the index has {request['num_frames']} "
            "(an edit list, or frames it cannot see)"
        }
    times = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0].astype(np.float64)
    times -= times[0]
    tolerance = max(float(np.median(np.diff(times))) / 2, 1e-3) if len(times) > 1 else 1.0
    kept = []
    for wanted in request["seconds"]:
        index = int(np.abs(times - wanted).argmin())
        if abs(times[index] - wanted) <= tolerance:
            kept.append((wanted, index))
    done = []
    with open(request["output"], "wb") as out:
        for start in range(0, len(kept), PIECE):
            piece = kept[start : start + PIECE]
            for (wanted, _), picture in zip(piece, pictures(reader, [index for _, index in piece]), strict=False):
                if picture is not None:
                    out.write(np.ascontiguousarray(picture, dtype=np.uint8).tobytes())
                    done.append(wanted)
    return {"seconds": done, "shape": [height, width]}


def pictures(reader: Any, indices: list[int]) -> list[Any]:
    """RGB arrays, or None for frames that fail."""
    try:
        return list(reader.get_batch(indices).asnumpy())
    except Exception:  # one bad frame fails the batch: take the others one by one
        found: list[Any] = []
        for index in indices:
            try:
                found.append(reader.get_batch([index]).asnumpy()[0])
            except Exception:
                found.append(None)
        return found


if __name__ == "__main__":
    # Started by path, the first entry is this folder, whose module names must hide nothing.
    sys.path.pop(0)
    main()
