from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from vidcausal.cli import COMMANDS

HEAVY = ("transformers", "open_clip", "decord", "hydra", "torch", "omegaconf", "onnxruntime", "av")


def loaded_by(statement: str) -> list[str]:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import vidcausal",
        "import vidcausal; dir(vidcausal); vidcausal.Span; vidcausal.VidcausalError",
        "import vidcausal.cli; vidcausal.cli.build_parser()",
    ],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == []


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in COMMANDS), ["data", "check", "--help"]], ids=" ".join
)
def test_help_is_quick(arguments: list[str]) -> None:
    """Under 0.3 s of CPU with the interpreter's start; the best of three, because other processes disturb caches."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "vidcausal", *arguments], capture_output=True, text=True, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        assert "usage: vidcausal" in done.stdout
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if spent[-1] < 0.3:
            return
    pytest.fail(f"vidcausal {' '.join(arguments)} took {min(spent):.2f} s of CPU")


def test_every_command_is_in_the_list() -> None:
    from vidcausal.cli import build_parser

    text = build_parser().format_help()
    assert all(f"    {name} " in text or f"    {name}\n" in text for name in COMMANDS)


def test_every_public_name_can_be_loaded() -> None:
    import vidcausal

    missing = [name for name in vidcausal.__all__ if getattr(vidcausal, name, None) is None]
    assert missing == []
    with pytest.raises(AttributeError, match="no attribute 'oredr'"):
        _ = vidcausal.oredr
