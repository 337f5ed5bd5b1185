"""What works on this machine and, for what does not, why. No check can fail: a check that raises is its own finding."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vidcausal.cache import cache_root

Status = Literal["ok", "missing", "warning"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: ``missing`` is something that may be wanted, ``warning`` something to repair."""

    name: str
    status: Status
    detail: str

    def to_json(self) -> dict[str, str]:
        """Plain dict."""
        return asdict(self)


def examine() -> list[Finding]:
    """Every check in order: Python, torch, GPU, decode backends, ffmpeg, weights, cache folder, Java."""
    checks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("python", _python),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("gpu", _gpu),
        ("decode", _decoders),
        ("ffmpeg", _ffmpeg),
        ("weights", _weights),
        ("cache", _cache),
        ("java", _java),
    )
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except Exception as error:
            findings.append(Finding(name, "warning", _line(error)))
    return findings


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def _python() -> list[Finding]:
    from vidcausal._version import __version__

    where = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    status: Status = "ok" if platform.system() == "Linux" else "warning"
    note = "" if status == "ok" else "; developed and tested on Linux"
    return [Finding("vidcausal", status, f"{__version__}, {where}{note}")]


def _torch() -> list[Finding]:
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    return [Finding("torch", "ok", f"{torch.__version__}, built for {built}, {torch.get_num_threads()} threads")]


def _torchvision() -> list[Finding]:
    """A torchvision built for another torch imports but has no operators, and then breaks transformers."""
    import torch

    found = importlib.metadata.version("torchvision")
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        fix = "install the pair that belongs together: pip install --upgrade torch torchvision"
        return [
            Finding(
                "torchvision",
                "warning",
                f"{found} does not work with torch {torch.__version__} ({_line(error)}); {fix}",
            )
        ]
    return [Finding("torchvision", "ok", f"{found}, its operators work with this torch")]


def _gpu() -> list[Finding]:
    import torch

    from vidcausal.evaluation.machine import gpus

    if names := gpus():
        return [Finding("gpu", "ok", f"{len(names)}: {', '.join(names)}")]
    if not torch.version.cuda:
        why = "torch was built without CUDA"
    elif shutil.which("nvidia-smi") is None:
        why = "no NVIDIA driver on this machine (nvidia-smi is not there)"
    else:
        why = "torch has CUDA and a driver is there, but no device can be used (CUDA_VISIBLE_DEVICES, driver version)"
    return [Finding("gpu", "missing", f"{why}; everything runs on the CPU")]


def _decoders() -> list[Finding]:
    from vidcausal.video.decode import backends

    devices = ["cpu", "cuda"] if any(f.status == "ok" for f in _gpu()) else ["cpu"]
    findings = []
    for device in devices:
        for name, reason in backends(device).items():
            if reason and name == "decord" and platform.machine() not in ("x86_64", "AMD64"):
                reason += f"; PyPI has no decord wheel for {platform.machine()}"
            label = f"decode {name}" + ("" if device == "cpu" else f" on {device}")
            findings.append(Finding(label, "missing" if reason else "ok", reason or "works"))
    return findings


def _ffmpeg() -> list[Finding]:
    from vidcausal.video.ffmpeg import executable, version

    program = executable()
    origin = "on the PATH" if shutil.which("ffmpeg") == program else "from the package imageio-ffmpeg"
    return [Finding("ffmpeg", "ok", f"{version(program)}, {origin}: {program}")]


def _weights() -> list[Finding]:
    from vidcausal.evaluation.catalog import weights

    findings = []
    for row in weights():
        if row["present"]:
            findings.append(Finding(f"weights {row['name']}", "ok", str(row["path"])))
        else:
            status: Status = "warning" if row.get("problem") else "missing"
            detail = str(row.get("problem") or f"get them with: {row['get']}")
            findings.append(Finding(f"weights {row['name']}", status, detail))
    return findings


def _cache() -> list[Finding]:
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            free = shutil.disk_usage(root).free
    except OSError as error:
        detail = f"{root} cannot be written ({error.strerror or error}); set VIDCAUSAL_CACHE to a folder that can"
        return [Finding("cache folder", "warning", detail)]
    return [Finding("cache folder", "ok", f"{root}, {free / 1e9:.1f} GB free")]


def _java() -> list[Finding]:
    if found := shutil.which("java"):
        return [Finding("java", "ok", found)]
    return [Finding("java", "missing", "no Java runtime; only the original METEOR and SPICE programs need one")]


def summary(findings: list[Finding]) -> dict[str, Any]:
    """The findings as one JSON object."""
    return {"ok": not any(f.status == "warning" for f in findings), "findings": [f.to_json() for f in findings]}
