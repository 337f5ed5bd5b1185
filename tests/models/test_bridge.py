from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidcausal.cache import DiskCache
from vidcausal.errors import WeightsError
from vidcausal.models.bridge import Bridge, Words, fit_ridge, load_bridge, save_bridge, whitening
from vidcausal.models.clip_onnx import ImageTower, Vectors, preprocess, unit
from vidcausal.models.drawn_text import draw_texts
from vidcausal.models.minilm import TextTower
from vidcausal.models.phrases import phrase_bank
from vidcausal.video.frames import FrameBatch


def small_bridge() -> Bridge:
    rng = np.random.default_rng(0)
    return Bridge(
        rng.normal(size=4).astype(np.float32),
        rng.normal(size=(4, 6)).astype(np.float32),
        rng.normal(size=6).astype(np.float32),
        np.eye(6, dtype=np.float32),
        rng.normal(size=6).astype(np.float32),
        "f",
    )


class Reader:
    """Counts the pictures it is shown."""

    fingerprint = "reader"

    def __init__(self) -> None:
        self.seen = 0

    def embed_pixels(self, pixels: Tensor) -> Vectors:
        self.seen += len(pixels)
        return unit(np.stack([np.resize(p.float().mean((1, 2)).numpy(), 6) + np.arange(6) for p in pixels]))

    def embed(self, frames: FrameBatch) -> Vectors:
        return self.embed_pixels(frames.data)


class Lengths:
    fingerprint = "lengths"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([[1, len(t), t.count("a"), t.count("e")] for t in texts], np.float32).reshape(-1, 4))


def test_ridge_recovers_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(5, 3))
    x = rng.normal(size=(400, 5))
    found = fit_ridge(x, x @ true + 0.01 * rng.normal(size=(400, 3)), 1e-6, np.ones(400))
    assert np.abs(found - true).max() < 0.01


def test_ridge_weights_count_like_repetitions() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    weights = np.where(np.arange(20) < 5, 3.0, 1.0)
    repeated = np.repeat(np.arange(20), weights.astype(int))
    np.testing.assert_allclose(
        fit_ridge(x, y, 0.5, weights), fit_ridge(x[repeated], y[repeated], 0.5, np.ones(len(repeated))), rtol=1e-5
    )


def test_whitening_evens_out_the_spread() -> None:
    x = np.random.default_rng(0).normal(size=(3000, 3)) * [10, 1, 0.1]
    spread = (x @ whitening(x, 0.5, 0.0)).std(0)
    np.testing.assert_allclose(spread / spread[0], 1, rtol=1e-3)


def test_saved_bridge_loads_equal_up_to_half_precision(tmp_path: Path) -> None:
    bridge = small_bridge()
    save_bridge(tmp_path / "b.safetensors", bridge, {"license": "Apache-2.0"})
    again = load_bridge(tmp_path / "b.safetensors")
    texts = np.random.default_rng(2).normal(size=(5, 4))
    assert np.abs(bridge.sentences(texts) - again.sentences(texts)).max() < 2e-3
    assert again.fingerprint != bridge.fingerprint


def test_a_file_that_is_no_bridge_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"other": np.zeros(3, np.float32)}, str(tmp_path / "o.safetensors"))
    with pytest.raises(WeightsError, match="not a text bridge"):
        load_bridge(tmp_path / "o.safetensors")
    (tmp_path / "t.safetensors").write_bytes(b"text")
    with pytest.raises(WeightsError, match="cannot read"):
        load_bridge(tmp_path / "t.safetensors")
    with pytest.raises(WeightsError, match="text_mean"):
        Bridge(np.zeros(3, np.float32), *[np.zeros((4, 6), np.float32)] * 4, fingerprint="x")  # type: ignore[arg-type]


def test_drawn_texts_are_kept(tmp_path: Path) -> None:
    reader = Reader()
    words = [Words(reader, Lengths(), small_bridge(), cache=DiskCache(tmp_path)) for _ in range(2)]
    first = words[0].embed(["a cat", "a tree"])
    assert reader.seen == 2
    np.testing.assert_array_equal(words[1].embed(["a tree", "a cat"]), first[::-1])
    assert reader.seen == 2
    words[0].embed(["a house"], drawn=False)
    assert reader.seen == 2
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)


def test_texts_are_drawn_inside_the_picture_and_apart() -> None:
    texts = ["cat", "a very long caption " * 12, "incomprehensibilities" * 2, ""]
    pictures = draw_texts(texts)
    assert pictures.shape == (4, 3, 224, 224)
    assert pictures.dtype == torch.uint8
    dark = (pictures < 128).any(1)
    assert dark[:3].any(2).any(1).all()
    assert not dark[3].any()
    assert not dark[1][:, 0].any()
    assert not torch.equal(pictures[0], pictures[1])


def test_preprocessing_keeps_the_middle_or_the_whole() -> None:
    pixels = torch.zeros(1, 3, 40, 80, dtype=torch.uint8)
    pixels[..., :10] = 255
    middle, whole = preprocess(pixels), preprocess(pixels, whole=True)
    assert middle.shape == whole.shape == (1, 3, 224, 224)
    assert np.allclose(middle, middle[0, :, 100, 100][None, :, None, None], atol=1e-5)
    assert whole[0, 0, 100, 0] > 1.5 > whole[0, 0, 100, 100]


def test_phrase_bank_is_large_and_clean() -> None:
    bank = phrase_bank()
    assert len(bank) >= 600
    assert len({phrase.lower() for phrase in bank}) == len(bank)
    assert all(phrase == phrase.strip() and not phrase.endswith(".") for phrase in bank)
    assert not any(word in f" {' '.join(bank)} " for word in (" colour ", " tyre ", " grey ", " theatre ", " axe "))


@pytest.mark.weights("all-minilm-l6-v2")
def test_sentence_vectors_follow_meaning() -> None:
    near, same, far = TextTower().embed(["a man rides a bike", "someone is cycling", "a bowl of soup"])
    assert near @ same > 0.5 > near @ far + 0.2


@pytest.mark.weights("clip-vit-b16-image-int8", "all-minilm-l6-v2", "text-bridge")
def test_drawings_find_their_names() -> None:
    from PIL import Image, ImageDraw

    def drawing(kind: str) -> Tensor:
        picture = Image.new("RGB", (224, 224), "white")
        pen = ImageDraw.Draw(picture)
        if kind == "apple":
            pen.ellipse((52, 62, 172, 192), fill=(200, 20, 30))
            pen.rectangle((108, 36, 114, 72), fill=(90, 60, 20))
            pen.ellipse((114, 36, 154, 60), fill=(40, 150, 50))
        elif kind == "car":
            pen.rounded_rectangle((20, 110, 204, 165), 18, fill=(30, 70, 200))
            pen.polygon([(60, 112), (85, 70), (150, 70), (175, 112)], fill=(30, 70, 200))
            pen.polygon([(72, 110), (90, 78), (113, 78), (113, 110)], fill=(190, 220, 240))
            pen.polygon([(120, 110), (120, 78), (145, 78), (163, 110)], fill=(190, 220, 240))
            for x in (45, 145):
                pen.ellipse((x, 145, x + 40, 185), fill="black")
                pen.ellipse((x + 12, 157, x + 28, 173), fill="lightgray")
        else:
            pen.rectangle((0, 0, 224, 224), fill=(20, 20, 60))
            pen.ellipse((130, 30, 190, 90), fill=(250, 245, 200))
            for x, y in ((30, 40), (70, 90), (100, 30), (40, 150), (180, 160), (120, 130)):
                pen.ellipse((x, y, x + 5, y + 5), fill="white")
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)

    tower, bridge = ImageTower(threads=1), load_bridge()
    vectors = tower.embed_pixels(torch.stack([drawing(kind) for kind in ("apple", "car", "moon")]))
    texts = ["a red apple", "a blue car", "the moon in the night sky"]
    for drawn in (False, True):
        words = Words(tower, TextTower(), bridge).embed(texts, drawn=drawn)
        scores = bridge.pictures(vectors, vectors.mean(0)) @ words.T
        assert scores.argmax(1).tolist() == [0, 1, 2]
