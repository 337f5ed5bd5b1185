from __future__ import annotations

import copy
import dataclasses
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vidcausal.config.presets import available
from vidcausal.errors import ConfigError, RunFolderError, UnknownNameError
from vidcausal.metrics.grounding import span_iou
from vidcausal.models import native_text as text
from vidcausal.models.native import EVENT_TOKENS, STARTS, NativeModel
from vidcausal.models.native_clock import told_frames
from vidcausal.models.video_lm import VideoLM
from vidcausal.training import claims
from vidcausal.training.build import native_core, native_tokenizer
from vidcausal.training.claim_scores import MEASURES, Examiner, best_moment, draw_exams, shown
from vidcausal.training.claim_tables import (
    Counts,
    difference,
    figure,
    frame_rows,
    frame_text,
    mask_rows,
    mask_verdicts,
)
from vidcausal.training.claims import FrameClaim, MaskClaim, floors, read_claim, run_claim
from vidcausal.training.loop import Run
from vidcausal.types import Span
from vidcausal.video.footage import Footage

REPOSITORY = Path(__file__).resolve().parents[2]
ENCODER = {"width": 16, "stem_width": 8, "num_blocks": 1, "looks_back": True}
PROJECTOR = {"num_queries": 2, "hidden_dim": 32, "num_heads": 1, "num_layers": 1, "intermediate_dim": 32}
LANGUAGE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(out: Path, **changes: Any) -> MaskClaim:
    settings: dict[str, Any] = {
        "worlds": ("collisions",),
        "masks": ("causal", "full"),
        "seeds": (0,),
        "steps": 4,
        "rows": {"video": 1},
        "frames": 6,
        "size": 16,
        "encoder": ENCODER,
        "projector": PROJECTOR,
        "language": LANGUAGE,
        "recipe": {"checkpoint_every": 2, "log_every": 2, "warmup": 1, "muon_lr": 0.0},
        "stories": 20,
        "videos": 3,
        "moments": 1,
        "batch": 2,
    }
    return MaskClaim(str(out), **{**settings, **changes})


# ---- what is asked ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> VideoLM:
    """An untrained native model, its weights large enough that it has opinions."""
    folder = tmp_path_factory.mktemp("core")
    tokenizer = native_tokenizer(("collisions", "mechanisms"), folder, stories=20)
    built = native_core(
        folder,
        tokenizer,
        encoder={"library": "conv", "model": {**ENCODER, "image_size": 16}},
        projector={"kind": "per-frame-causal", **PROJECTOR},
        language=LANGUAGE,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return built


def test_it_answers_what_the_native_model_answers(core: VideoLM) -> None:
    exams = draw_exams(("collisions", "mechanisms"), 4, split="test", first=7, moments=2)
    frames = [shown(exam.story, 8, 16) for exam in exams]
    examiner, model = Examiner(core, batch=3), NativeModel(core)
    tally = examiner.ask(exams, frames, write=True)
    assert list(tally) == list(MEASURES)
    for number, (exam, batch) in enumerate(zip(exams, frames, strict=True)):
        best = [model.ground(Footage.from_frames(batch), query)[0] for query, _ in exam.moments]
        ious = [span_iou(span, truth) for span, (_, truth) in zip(best, exam.moments, strict=True)]
        assert tally["mIoU"][number] == [pytest.approx(sum(ious), abs=1e-6), len(exam.moments)]
        assert tally["R@1"][number] == [sum(iou >= 0.5 for iou in ious), len(exam.moments)]
        right = 0
        for question in exam.questions:
            means = [score.mean for score in model.score_options(question.text, question.options, batch)]
            right += means.index(max(means)) == question.answer
        assert tally["QA"][number] == [right, len(exam.questions)]
        assert tally["lines"][number][1] == len(exam.story.events)
        assert tally["events F1"][number][1] == len(model.events(batch)) + len(exam.story.events)
    told = [told_frames(batch)[0] for batch in frames]
    written = [core.chat(text.DESCRIBE, batch, max_new_tokens=EVENT_TOKENS) for batch in told]
    with torch.no_grad():
        times = [[round(time, 1) for time in batch.pts_seconds.tolist()] for batch in told]
        assert examiner._written(times, examiner._tokens(told)) == written


def test_writing_ends_where_the_model_ends_it(core: VideoLM, monkeypatch: pytest.MonkeyPatch) -> None:
    exams = draw_exams(("collisions",), 2, split="test", first=0, moments=1)
    frames = [shown(exam.story, 6, 16) for exam in exams]
    whole = core.generate(text.DESCRIBE, frames[0], max_new_tokens=EVENT_TOKENS).ids
    last = next(token for token in whole if token != whole[0])
    monkeypatch.setattr(core, "tokenizer", copy.deepcopy(core.tokenizer))
    core.tokenizer.eos_token = core.tokenizer.convert_ids_to_tokens(last)
    expected = [core.chat(text.DESCRIBE, batch, max_new_tokens=EVENT_TOKENS) for batch in frames]
    assert expected[0] == core.tokenizer.decode(whole[: whole.index(last)])
    examiner = Examiner(core)
    times = [[round(time, 1) for time in batch.pts_seconds.tolist()] for batch in frames]
    with torch.no_grad():
        assert examiner._written(times, examiner._tokens(frames)) == expected


def test_the_best_moment_has_the_largest_expected_overlap() -> None:
    rng = np.random.default_rng(3)
    seconds = [0.5, 1.5, 2.5, 3.5, 4.5]
    for _ in range(20):
        starts = rng.permutation(5)[:3]
        logs = rng.normal(size=(3, 5)) * 2
        spans = {
            (seconds[i], seconds[j]): float(np.exp(logs[k, j])) for k, i in enumerate(starts) for j in range(int(i), 5)
        }
        expected = {span: sum(p * span_iou(Span(*span), Span(*other)) for other, p in spans.items()) for span in spans}
        chosen = best_moment(seconds, starts, logs)
        assert expected[chosen.start, chosen.end] == pytest.approx(max(expected.values()))
    assert STARTS >= 3


def test_exams_do_not_depend_on_how_many_there_are_and_are_held_out() -> None:
    few = draw_exams(("collisions", "mechanisms"), 4, split="test", first=5, moments=2)
    many = draw_exams(("collisions", "mechanisms"), 8, split="test", first=5, moments=2)
    assert [exam.moments for exam in few] == [exam.moments for exam in many[:4]]
    assert len({exam.name for exam in many}) == 8
    assert all(exam.story.split == "test" for exam in many)
    more = shown(few[0].story, 12, 16)
    assert len(more) == 12
    assert float(more.pts_seconds[-1]) < few[0].story.duration
    lowest = floors(many)
    assert lowest["QA"] == pytest.approx(0.2)
    assert 0 < lowest["R@1"] <= 1
    assert 0 < lowest["mIoU"] < 1


# ---- what figures say -------------------------------------------------------------------------------------------


def counts(values: Any) -> Counts:
    top = np.array(values, dtype=np.float64)
    return Counts(top, np.ones_like(top))


def test_intervals_are_over_seeds_and_over_videos() -> None:
    rng = np.random.default_rng(0)
    videos = (rng.random((1, 60)) < 0.5).astype(float).repeat(3, 0)
    alike = figure(counts(videos))
    assert alike.low < alike.value < alike.high
    alone = figure(counts(videos[:1]))
    assert alike.high - alike.low == pytest.approx(alone.high - alone.low, rel=0.15), "more seeds, no more videos"
    seeds = figure(counts(np.array([[0.2] * 60, [0.5] * 60, [0.8] * 60])))
    assert (round(seeds.low, 2), round(seeds.value, 2), round(seeds.high, 2)) == (0.2, 0.5, 0.8)


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    first = (rng.random((3, 80)) < 0.6).astype(float)
    assert difference(counts(first), counts(first)) == (0.0, 0.0, 0.0)
    better = difference(counts(first + 0.1), counts(first))
    assert list(better) == pytest.approx([0.1] * 3)
    with pytest.raises(ValueError, match="one shape"):
        difference(counts(first), counts(first[:2]))


def tally(qa: float, found: float, videos: int = 50) -> dict[str, list[list[float]]]:
    rng = np.random.default_rng(int(100 * qa + 10_000 * found))
    return {
        "R@1": [[float(rng.random() < found), 1.0] for _ in range(videos)],
        "QA": [[float(rng.random() < qa), 1.0] for _ in range(videos)],
        "words": [[5.0, 10.0]] * videos,
    }


def test_the_table_says_where_the_claim_holds_where_not_and_where_nothing_is_known() -> None:
    tallies = {"causal": [tally(0.21, 0.9)] * 3, "full": [tally(0.2, 0.3)] * 3, "none": [tally(0.9, 0.95)] * 3}
    rows = mask_rows(tallies, {"R@1": 0.2, "QA": 0.2})
    full, none = mask_verdicts(rows)
    assert "against full**: the claim holds for R@1" in full
    assert "not shown for words" in full
    assert "nothing can be said about QA" in full
    assert "it does not hold for QA, where none is better" in none
    assert rows[0]["seeds"]["causal"] == [rows[0]["masks"]["causal"]["value"]] * 3


def test_more_frames_are_compared_with_those_of_training() -> None:
    rows = frame_rows(
        {16: [tally(0.9, 0.9)], 32: [tally(0.91, 0.9)], 96: [tally(0.2, 0.9)]}, dict.fromkeys((16, 32, 96), 0.5)
    )
    said = frame_text({"small": rows}, {"small": {"QA": 0.2}})
    worse = next(line for line in said.splitlines() if "96 frames against 16" in line)
    assert "the claim does not hold for QA -" in worse
    assert "no change shown for R@1, words" in worse
    assert "does not hold" not in next(line for line in said.splitlines() if "32 frames against 16" in line)
    assert "minus 16 frames" in rows[1]
    assert not rows[0]["minus 16 frames"]
    assert "without looking | – | 20.0 | – |" in said


# ---- runs -------------------------------------------------------------------------------------------------------


def test_masks_are_trained_scored_resumed_and_then_asked_with_more_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_claim(tiny(tmp_path / "a"), {"machine": {"cores": 1}})
    content = json.loads((tmp_path / "a" / "claims.json").read_text())
    assert content["machine"] == {"cores": 1}
    assert content["settings"]["steps"] == 4
    assert [(t["mask"], t["seed"], t["steps"]) for t in content["trainings"]] == [("causal", 0, 4), ("full", 0, 4)]
    assert len({t["parameters"] for t in content["trainings"]}) == 1
    assert "causal − full" in whole.text
    assert "**causal against full**" in whole.text
    assert whole.path.read_text() == whole.text

    train = Run.train
    begun: list[str] = []

    def stopped(self: Run, **settings: Any) -> None:
        if begun:
            raise KeyboardInterrupt
        begun.append(self.folder.name)
        train(self, **settings)

    monkeypatch.setattr(Run, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_claim(tiny(tmp_path / "b"))
    monkeypatch.setattr(Run, "train", train)
    run_claim(tiny(tmp_path / "b", masks=("causal",)))
    for part in ("encoder.safetensors", "projector.safetensors", "language/model.safetensors"):
        first, second = (load_file(tmp_path / side / "causal-0" / "model" / part) for side in "ab")
        assert all(torch.equal(first[name], second[name]) for name in first), "stopped or not, the same weights"

    monkeypatch.setattr(Run, "train", lambda *a, **k: pytest.fail("what is trained is not trained again"))
    again = run_claim(tiny(tmp_path / "a"))
    assert again.text == whole.text
    assert "2 held-out videos" in run_claim(tiny(tmp_path / "a", videos=2)).text
    with pytest.raises(RunFolderError, match=r"other settings \(steps\)"):
        run_claim(tiny(tmp_path / "a", steps=5))

    frames = FrameClaim(str(tmp_path / "f"), weights=None, trained=str(tmp_path / "a"), counts=(6, 12), videos=2)
    report = run_claim(frames)
    assert "## mask causal" in report.text
    assert "## mask full" in report.text
    assert "## mask none" not in report.text
    models = json.loads((tmp_path / "f" / "claims.json").read_text())["models"]
    assert [row["frames"] for row in models["mask full"]] == [6, 12]
    assert set(models["mask causal"][0]["figures"]) == set(MEASURES)
    monkeypatch.setattr(Examiner, "ask", lambda *a, **k: pytest.fail("what is known is not asked again"))
    assert run_claim(frames).text == report.text


def test_every_mask_starts_from_the_same_weights(tmp_path: Path) -> None:
    claim = tiny(tmp_path)
    tokenizer = native_tokenizer(claim.worlds, tmp_path / "tokenizer", stories=20)
    states = []
    for mask in claims.MASKS:
        run, core = claims._prepared(claim, mask, 1, tokenizer, tmp_path / mask, "")
        assert core.projector.attention == mask
        states.append(run.trainee.state_dict())
    other, _ = claims._prepared(claim, "causal", 2, tokenizer, tmp_path / "other", "")
    for state in states[1:]:
        assert all(torch.equal(states[0][name], value) for name, value in state.items())
    assert not torch.equal(states[0]["word_head.weight"], other.trainee.state_dict()["word_head.weight"])


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in available("experiment") if name.startswith("claim_")])
def test_every_claim_can_be_read(name: str) -> None:
    claim = read_claim([f"experiment={name}", "videos=5"])
    assert claim.videos == 5
    assert claim.out.startswith("runs/claims/")
    assert claim.threads == 1


def test_overrides_change_one_key() -> None:
    claim = read_claim(["experiment=claim_causal_mask", "rows.video=3", "worlds=[collisions]", "recipe.warmup=7"])
    assert isinstance(claim, MaskClaim)
    assert (claim.rows, claim.worlds, claim.recipe["warmup"]) == ({"video": 3}, ("collisions",), 7)
    assert claim.recipe["muon_lr"] > 0
    frames = read_claim(["experiment=claim_frame_extrapolation", "weights=null", "counts=[4, 8]"])
    assert isinstance(frames, FrameClaim)
    assert (frames.weights, frames.counts) == (None, (4, 8))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "choose an experiment"),
        (["experiment=claim_causal_mask", "stesp=3"], "did you mean 'steps'"),
        (["experiment=claim_causal_mask", "steps"], "key=value"),
        (["experiment=claim_causal_mask", "steps=many"], "steps must be"),
        (["experiment=claim_causal_mask", "steps=0"], "at least 1"),
        (["experiment=claim_causal_mask", "steps.a=1"], "one value"),
        (["experiment=claim_causal_mask", "rows.video=0"], "needs rows"),
        (["experiment=claim_causal_mask", "seeds=[1, 1]"], "different"),
        (["experiment=claim_causal_mask", "worlds=[]"], "one or more of"),
        (["experiment=claim_frame_extrapolation", "counts=[16]"], "two or more"),
    ],
)
def test_mistakes_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_claim(overrides)


@pytest.mark.parametrize(
    "override", ["experiment=claim_causal_msk", "masks=[future]", "worlds=[moon]", "split=train", "rows={films: 3}"]
)
def test_unknown_names_are_named(override: str) -> None:
    with pytest.raises(UnknownNameError):
        read_claim(["experiment=claim_causal_mask", override])


def test_there_must_be_something_to_ask(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to ask"):
        run_claim(FrameClaim(str(tmp_path), weights=None, trained=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match="recipe"):
        run_claim(dataclasses.replace(tiny(tmp_path / "r"), recipe={"speed": 3}))


def test_the_script_runs_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "claims.py"))
    given = [
        *(f"encoder.{key}={value}" for key, value in ENCODER.items()),
        *(f"projector.{key}={value}" for key, value in PROJECTOR.items()),
        *(f"language.{key}={value}" for key, value in LANGUAGE.items()),
        *("masks=[causal]", "seeds=[3]", "steps=1", "rows.video=1", "frames=4", "size=16", "stories=10", "videos=2"),
    ]
    monkeypatch.setattr(sys, "argv", ["claims.py", "experiment=claim_causal_mask", f"out={tmp_path}", *given])
    done = script["job"]()
    assert done.text.endswith(str(tmp_path / "claims.md"))
    assert {"machine", "versions", "command"} <= set(json.loads((tmp_path / "claims.json").read_text()))
