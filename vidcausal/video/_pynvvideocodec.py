"""NVIDIA's PyNvVideoCodec: NVDEC on CUDA, pixels handed over by DLPack, so they never leave the device.

Written to the interface of the 2.2.4 wheel (``PyNvVideoCodec/decoders/SimpleDecoder.py`` and its samples). The
decoder counts frames and does not report their times, so it is used only where that count is the index's own: every
frame of the file displayed, none hidden by an edit list. It does not rotate; that is done here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import time
from pathlib import Path
from typing import Any

import torch
import torch.utils.dlpack
from torch import Tensor

from vidcausal.errors import DecodeError, first_line
from vidcausal.video.pictures import resize
from vidcausal.video.request import RawFrames, ReadRequest

_PIECE = 16


def version() -> str:
    """Version of the installed PyNvVideoCodec."""
    return importlib.metadata.version("pynvvideocodec")


def unavailable(device: str) -> str | None:
    """Why it cannot be used here, one line; None when it can."""
    if not device.startswith("cuda"):
        return "PyNvVideoCodec decodes on NVIDIA GPUs only"
    if importlib.util.find_spec("PyNvVideoCodec") is None:
        return "PyNvVideoCodec is not installed (pip install pynvvideocodec)"
    if not torch.cuda.is_available():
        return "PyNvVideoCodec needs a GPU, and torch sees none"
    try:
        importlib.import_module("PyNvVideoCodec")
    except Exception as error:  # without a driver the import raises whatever its loader met
        return f"PyNvVideoCodec {version()} does not load: {first_line(error, 200)}"
    return None


def read_frames(request: ReadRequest) -> RawFrames:
    """Decode on the GPU of ``request.device``.

    Raises:
        DecodeError: the file cannot be opened, or its frames are counted differently.
        DecodeTimeoutError: the deadline passed between two pieces.
    """
    started = time.monotonic()
    info = request.info
    decoder = _open(request)
    pictures: list[Tensor] = []
    times: list[float] = []
    for start in range(0, len(request.indices), _PIECE):
        request.check_deadline(started, len(times), "PyNvVideoCodec")
        piece = [int(i) for i in request.indices[start : start + _PIECE]]
        try:
            frames = decoder.get_batch_frames_by_index(piece)
        except Exception as error:  # its bindings raise their own exception type
            raise DecodeError(f"{info.path}: PyNvVideoCodec failed ({str(error)[:200]}); use pyav") from error
        for index, frame in zip(piece, frames, strict=False):
            # The decoder reuses its surfaces: copy before the next piece.
            pictures.append(_upright(torch.utils.dlpack.from_dlpack(frame).clone(), info.rotation, request.size))
            times.append(float(info.pts_seconds[index]))
        torch.cuda.current_stream().synchronize()
    height, width = request.size or (info.height, info.width)
    empty = torch.empty((0, 3, height, width), dtype=torch.uint8, device=request.device)
    return RawFrames(data=torch.stack(pictures) if pictures else empty, pts_seconds=tuple(times))


def _open(request: ReadRequest) -> Any:
    module: Any = importlib.import_module("PyNvVideoCodec")
    info = request.info
    try:
        decoder = module.SimpleDecoder(
            str(Path(info.path).absolute()),
            gpu_id=torch.device(request.device).index or 0,
            use_device_memory=True,
            need_scanned_stream_metadata=1,
            output_color_type=module.OutputColorType.RGBP,
        )
        count = int(decoder.get_scanned_stream_metadata().num_frames)
    except Exception as error:  # its bindings raise their own exception type
        raise DecodeError(f"{info.path}: PyNvVideoCodec cannot open it ({str(error)[:200]}); use pyav") from error
    if count != info.num_frames:
        raise DecodeError(
            f"{info.path}: PyNvVideoCodec counts {count} frames where the index has {info.num_frames} "
            "(an edit list, or frames it cannot see); use pyav"
        )
    return decoder


def _upright(planes: Tensor, rotation: int, size: tuple[int, int] | None) -> Tensor:
    """RGB uint8 ``[3, h, w]`` from planar RGB ``[3, h, w]`` or ``[3·h, w]``, rotated and resized."""
    picture = planes if planes.ndim == 3 else planes.reshape(3, planes.shape[0] // 3, planes.shape[1])
    picture = torch.rot90(picture, -rotation // 90, dims=(1, 2))
    return (picture if size is None else resize(picture[None], size)[0]).contiguous()
