from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vidcausal.errors import ConfigError, MissingWeightsError, ModelError, WeightsError
from vidcausal.models.byte_tokenizer import VOCABULARY_SIZE, byte_tokenizer
from vidcausal.models.video_lm import VIDEO_TOKEN, VideoLM, video_lm
from vidcausal.protocols import Scoring, VideoChat
from vidcausal.video.frames import FrameBatch

PRESETS = Path(__file__).resolve().parents[2] / "configs" / "model"
POOL = {"kind": "causal-cross-attention", "num_queries": 10, "hidden_dim": 32, "num_heads": 4, "intermediate_dim": 64}
PROJECTORS: dict[str, dict[str, Any]] = {
    "pool": POOL,
    "per-frame": {
        "kind": "per-frame-causal",
        "num_queries": 3,
        "hidden_dim": 32,
        "num_heads": 4,
        "num_layers": 1,
        "intermediate_dim": 64,
    },
    "resampler": {"kind": "resampler", "num_queries": 3, "num_heads": 4},
    "mlp": {"kind": "mlp"},
}
LANGUAGES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rms_norm_eps": 1e-5},
    "gemma3": {"model_type": "gemma3_text", "head_dim": 12, "sliding_window": 16, "num_hidden_layers": 6},
}


def preset(name: str = "videolm-tiny-random") -> dict[str, Any]:
    arguments: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert arguments.pop("_target_") == "vidcausal.models.video_lm.video_lm"
    return arguments


def build(**changes: Any) -> VideoLM:
    return video_lm(**{**preset(), **changes})


def video(count: int = 5, *, seed: int = 0, key: str | None = None) -> FrameBatch:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randint(0, 256, (count, 3, 24, 40), dtype=torch.uint8, generator=generator)
    return FrameBatch(data, torch.arange(count).double() * 1.25, key=key)


@pytest.fixture(scope="module")
def tiny() -> VideoLM:
    return build()


def plain_logits(model: VideoLM, ids: list[int], frames: FrameBatch) -> torch.Tensor:
    """Everything at once, nothing kept: ``[s, v]``."""
    features = model.encoder.encode(frames)[None]
    tokens = model.projector.project(features, frames.pts_seconds[None]).tokens
    with torch.no_grad():
        logits: torch.Tensor = model.language(inputs_embeds=model.embed(ids, tokens), use_cache=False).logits[0]
    return logits.float()


# ---- chat and score ----------------------------------------------------------------------------------------------


def test_it_is_what_strategies_expect(tiny: VideoLM) -> None:
    assert isinstance(tiny, VideoChat)
    assert isinstance(tiny, Scoring)
    assert tiny.name == "videolm-tiny-random"
    assert isinstance(tiny.chat("What happens?", video(), max_new_tokens=4), str)
    assert isinstance(tiny.chat("What happens?", max_new_tokens=4), str)


@pytest.mark.parametrize("projector", PROJECTORS)
def test_replies_are_greedy_over_the_whole_prompt(projector: str) -> None:
    model, frames = build(projector=PROJECTORS[projector]), video()
    before, text = model.lay_out("Why?", frames)
    ids, stop = before + text, model._stop_ids()
    for _ in range(6):
        token = int(plain_logits(model, ids, frames)[-1].argmax())
        if token in stop:
            break
        ids.append(token)
    expected = model.tokenizer.decode(ids[len(before) + len(text) :], skip_special_tokens=True).strip()
    assert model.chat("Why?", frames, max_new_tokens=6) == expected


def test_thoughts_are_no_part_of_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    monkeypatch.setattr(model.tokenizer, "decode", lambda *_, **__: "Is it A? No.\n</think>\n\nB")
    assert model.chat("Why?", max_new_tokens=1) == "B"


@pytest.mark.parametrize("projector", PROJECTORS)
def test_option_scores_are_log_probabilities(projector: str) -> None:
    model, frames = build(projector=PROJECTORS[projector]), video()
    before, text = model.lay_out("Which?", frames)
    options = ["B", "a longer option", "é"]
    for option, score in zip(options, model.score_options("Which?", options, frames), strict=True):
        ids = model.tokenizer(option, add_special_tokens=False)["input_ids"]
        rows = plain_logits(model, before + text + ids, frames).log_softmax(-1)
        start = len(before) + len(text) - 1
        expected = sum(float(rows[start + n, token]) for n, token in enumerate(ids))
        assert score.num_tokens == len(ids)
        assert score.log_likelihood == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_language_models_and_sliding_windows_agree_with_the_plain_way(language: str) -> None:
    sizes = {key: value for key, value in preset()["language"].items() if key != "model_type"}
    model, frames = build(language={**sizes, **LANGUAGES[language]}), video()
    before, text = model.lay_out("Which?", frames)
    for option in ("first", "second"):  # the second time the prefix is shared
        ids = model.tokenizer(option, add_special_tokens=False)["input_ids"]
        rows = plain_logits(model, before + text + ids, frames).log_softmax(-1)[-len(ids) - 1 : -1]
        expected = float(rows.gather(1, torch.tensor(ids)[:, None]).sum())
        assert model.score_options("Which?", [option], frames)[0].log_likelihood == pytest.approx(expected, abs=1e-3)


def test_scoring_needs_options_with_text(tiny: VideoLM) -> None:
    assert tiny.score_options("Which?", [], video()) == []
    with pytest.raises(ModelError, match="empty option ''"):
        tiny.score_options("Which?", ["a", ""], video())


def test_a_prompt_that_does_not_fit_is_refused_with_its_parts(tiny: VideoLM) -> None:
    with pytest.raises(ModelError, match="reads 8192 tokens"):
        tiny.chat("x" * 8000, video(), max_new_tokens=200)


def test_no_frames_are_not_a_video(tiny: VideoLM) -> None:
    with pytest.raises(ModelError, match="got no frames"):
        tiny.chat("?", video(0))


def test_the_future_does_not_reach_tokens_of_early_frames(tiny: VideoLM) -> None:
    frames = video(6)
    data = frames.data.clone()
    data[4:] = 255 - data[4:]
    before, after = tiny.encode_video(frames), tiny.encode_video(replace(frames, data=data))
    early = before.frame_index[0] < 4
    assert torch.equal(before.tokens[:, early], after.tokens[:, early])
    assert not torch.equal(before.tokens, after.tokens)


# ---- the prompt --------------------------------------------------------------------------------------------------


def test_a_time_stands_before_each_frame(tiny: VideoLM) -> None:
    before, text = tiny.lay_out("Why?", video(3))
    words, run = "", 0
    for token in before:
        run = run + 1 if token == VIDEO_TOKEN else 0
        words += ("#" if run == 1 else "") if token == VIDEO_TOKEN else tiny.tokenizer.decode([token])
    assert words == "<|im_start|>user\n0.0s: #1.2s: #2.5s: #"
    assert tiny.tokenizer.decode(text) == "\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert before.count(VIDEO_TOKEN) == 3 * 4


def test_a_pool_has_no_times_and_always_as_many_tokens() -> None:
    model = build(projector=POOL)
    for count in (1, 3, 17):
        assert model.video_ids(video(count)) == [VIDEO_TOKEN] * 10
        assert model.encode_video(video(count)).tokens.shape == (1, 10, 48)


def test_a_prompt_that_contains_the_mark_is_only_text(tiny: VideoLM) -> None:
    before, text = tiny.lay_out("look: <|vidcausal-video|>", video(2))
    assert before == tiny.lay_out("", video(2))[0]
    assert "<|vidcausal-video|>" in tiny.tokenizer.decode(text)


def test_without_a_template_the_prompt_follows_the_video(tiny: VideoLM) -> None:
    model = build()
    model.tokenizer.chat_template = None
    before, text = model.lay_out("Why?", video(1))
    assert model.tokenizer.decode([i for i in before if i >= 0]) == "0.0s: "
    assert model.tokenizer.decode(text) == "\nWhy?\n"
    assert model.tokenizer.decode(model.lay_out("Why?")[1]) == "Why?\n"


def test_the_byte_tokenizer_keeps_every_text() -> None:
    tokenizer = byte_tokenizer()
    assert len(tokenizer) == VOCABULARY_SIZE
    for text in ("Hello  there\n\n", "naïve 日本 🎬", " leading", "1. a) b, c.", "\x00\x7f"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == list(text.encode())
        assert tokenizer.decode(ids) == text
    assert tokenizer("<|im_start|>x<|im_end|>")["input_ids"] == [257, 120, 258]


# ---- the shared prefix -------------------------------------------------------------------------------------------


def test_a_shared_prefix_changes_no_reply_and_encodes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, none = build(), build(max_prefixes=0)
    encoded: list[int] = []
    original = VideoLM.encode_video
    monkeypatch.setattr(VideoLM, "encode_video", lambda self, f: (encoded.append(id(self)), original(self, f))[1])
    prompts, options, frames = ["What?", "A longer question, why?", "What?"], ["yes", "no way"], video(key="clip")
    for prompt in prompts:
        assert kept.chat(prompt, frames, max_new_tokens=8) == none.chat(prompt, frames, max_new_tokens=8)
        ours, theirs = (model.score_options(prompt, options, frames) for model in (kept, none))
        assert [s.log_likelihood for s in ours] == [s.log_likelihood for s in theirs]
    assert encoded.count(id(kept)) == 1
    assert encoded.count(id(none)) == 6
    assert kept.prefixes.hits == 5


def test_prefixes_are_found_by_key_or_by_the_batch_itself() -> None:
    model = build(max_prefixes=2)
    named, same_key, other_times = video(key="a"), video(key="a"), replace(video(key="a"), pts_seconds=torch.ones(5))
    model.score_options("?", ["x"], named)
    model.score_options("?", ["x"], same_key)
    assert model.prefixes.hits == 1
    model.score_options("?", ["x"], other_times)
    assert model.prefixes.hits == 1
    nameless, twin = video(), video()
    model.score_options("?", ["x"], nameless)
    model.score_options("?", ["x"], twin)
    assert model.prefixes.hits == 1
    model.score_options("?", ["x"], nameless)
    assert (model.prefixes.hits, len(model.prefixes)) == (2, 2)
    model.score_options("?", ["x"], named)
    assert model.prefixes.hits == 2, "it was unused for longest and made room"


def test_prefixes_do_not_outlive_the_weights_they_came_from() -> None:
    model, frames = build(), video(key="a")
    before = model.score_options("?", ["x"], frames)
    other = build(seed=5)
    model.load_state_dict(other.state_dict())
    assert model.score_options("?", ["x"], frames) != before
    assert model.score_options("?", ["x"], frames) == other.score_options("?", ["x"], frames)
    model.train()
    assert len(model.prefixes) == 0
    model.score_options("?", ["x"], frames)
    assert len(model.prefixes) == 0, "nothing is kept while weights move"


# ---- state -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_a_saved_model_comes_back(library: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"projector": PROJECTORS["resampler"], "time_format": "<{:.2f}>", "name": "mine"}
    if library == "open_clip":
        vision = {"image_size": 28, "layers": 2, "width": 32, "head_width": 8, "patch_size": 14}
        changes["encoder"] = {"library": "open_clip", "model": {"embed_dim": 16, "vision_cfg": vision}, "layer": -1}
    model = build(**changes)
    model.save_pretrained(tmp_path / "saved")
    again = VideoLM.from_pretrained(tmp_path / "saved")
    assert (again.name, again.time_format, again.random_parts) == ("mine", "<{:.2f}>", model.random_parts)
    assert again.fingerprint == model.fingerprint
    assert again.chat("Why?", video(), max_new_tokens=6) == model.chat("Why?", video(), max_new_tokens=6)
    assert again.score_options("?", ["abc"], video()) == model.score_options("?", ["abc"], video())
    assert {p.suffix for p in (tmp_path / "saved").rglob("*") if p.is_file()} <= {".json", ".safetensors", ".jinja"}


def test_a_folder_that_does_not_fit_is_explained(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no vidcausal\.json"):
        VideoLM.from_pretrained(tmp_path)
    build(projector=POOL).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "vidcausal.json").read_text(encoding="utf-8"))
    settings["projector"]["num_queries"] = 11
    (tmp_path / "vidcausal.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"query is \[10, 32\], wanted \[11, 32\]"):
        VideoLM.from_pretrained(tmp_path)
    (tmp_path / "vidcausal.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(WeightsError, match="format 99"):
        VideoLM.from_pretrained(tmp_path)


def test_the_fingerprint_names_weights_and_settings(tiny: VideoLM) -> None:
    same = build()
    assert same.fingerprint == tiny.fingerprint
    for changes in ({"seed": 1}, {"time_format": "{:.0f} s "}, {"projector": {**preset()["projector"], "window": 2}}):
        assert build(**changes).fingerprint != tiny.fingerprint, changes
    with torch.no_grad():
        next(same.projector.parameters()).add_(1e-3)
    assert same.fingerprint != tiny.fingerprint


def test_projector_weights_come_from_safetensors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.torch import save_file

    source = build(seed=3)
    path = tmp_path / "projector.safetensors"
    save_file({name: value.clone() for name, value in source.projector.state_dict().items()}, path)
    model = build(projector_weights=str(path))
    assert "projector" not in model.random_parts
    for name, value in model.projector.state_dict().items():
        assert torch.equal(value, source.projector.state_dict()[name])
    with caplog.at_level(logging.WARNING):
        model.chat("?", video(), max_new_tokens=1)
    assert "untrained" not in caplog.text
    with pytest.raises(MissingWeightsError, match="weights of the projector"):
        build(projector_weights=str(tmp_path / "absent.safetensors"))


def test_an_untrained_projector_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = build()
    with caplog.at_level(logging.WARNING):
        model.chat("?", video(), max_new_tokens=1)
        model.score_options("?", ["x"], video())
    assert sum("untrained" in record.message for record in caplog.records) == 1


def test_a_trained_language_model_is_taken_from_a_folder(tmp_path: Path) -> None:
    source = build()
    source.language.save_pretrained(tmp_path)
    source.tokenizer.save_pretrained(tmp_path)
    model = build(language=str(tmp_path))
    assert model.random_parts == ("encoder", "projector")
    assert model.score_options("?", ["abc"], video()) == source.score_options("?", ["abc"], video())


def test_descriptions_that_cannot_be_built_are_named() -> None:
    with pytest.raises(ConfigError, match="needs its kind"):
        build(projector={"num_queries": 3})
    with pytest.raises(ConfigError, match="encoder: .*'modell'"):
        build(encoder={"modell": "x"})
    with pytest.raises(ConfigError, match="259 tokens, the language model 100"):
        build(language={**preset()["language"], "vocab_size": 100})
    with pytest.raises(ConfigError, match="dtype must be"):
        build(dtype="int8")
    with pytest.raises(MissingWeightsError):
        build(language="no-such-organization/no-such-model")
    good = build()
    small = build(language={**preset()["language"], "hidden_size": 24})
    with pytest.raises(ModelError, match="from 32 to 48, but the encoder gives 32 and the language model reads 24"):
        VideoLM(good.encoder, good.projector, small.language, small.tokenizer)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(dtype: str) -> None:
    model = build(dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert model.encode_video(video()).tokens.dtype == getattr(torch, dtype)
    assert isinstance(model.chat("?", video(), max_new_tokens=2), str)


# ---- full size ---------------------------------------------------------------------------------------------------


def test_video_ccam_7b_has_the_published_numbers_of_parameters() -> None:
    model = video_lm(**preset("video-ccam-7b-random"), device="meta", dtype="bfloat16")
    count = {
        part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("encoder", "projector", "language")
    }
    assert count == {"encoder": 397_745_440, "projector": 28_589_568, "language": 7_615_616_512}
    assert model.video_ids(video(96)) == [VIDEO_TOKEN] * 1024


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    cpu, gpu = build(dtype="float32"), build(device="cuda", dtype="float32")
    gpu.load_state_dict(cpu.state_dict())
    ours, theirs = (model.score_options("Which?", ["a", "bcd"], video(9)) for model in (gpu, cpu))
    for one, other in zip(ours, theirs, strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-2)
