"""Where and with what a run was made: versions, git commit, processor, memory, GPU."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from vidcausal._version import __version__

LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "av",
    "numpy",
    "decord",
    "torchcodec",
    "onnxruntime",
    "open_clip_torch",
)


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of the libraries that can change a result; absent ones are left out."""
    found = {"vidcausal": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if commit := git_commit():
        found["git commit"] = commit
    return found


@functools.cache
def git_commit() -> str | None:
    """Commit of the source tree that is running, with ``+changes`` where files differ; None outside a checkout."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return None
    try:
        head = _git(package.parent, "rev-parse", "HEAD")
        changed = _git(package.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Operating system, processor, cores this process may use, memory in GB, GPUs."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the CUDA devices that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def command() -> str:
    """The command line of this process, as one would type it."""
    import shlex

    return shlex.join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])
