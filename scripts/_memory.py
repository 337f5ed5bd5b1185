"""Memory of this process, as the Linux kernel counts it."""

from __future__ import annotations

from pathlib import Path


def process_mb(field: str) -> float:
    """A line of /proc/self/status in MB: ``VmRSS`` is now, ``VmHWM`` the highest; 0 where there is none.

    ``ru_maxrss`` of the resource module would include the parent's memory before exec.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)
