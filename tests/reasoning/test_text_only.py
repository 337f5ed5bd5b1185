from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.text.bbh import BBHCausalJudgement
from vidcausal.errors import ConfigError
from vidcausal.evaluation.build import create_strategy
from vidcausal.evaluation.runner import run
from vidcausal.protocols import Redirecting, Strategy
from vidcausal.reasoning.text_only import TextOnly
from vidcausal.types import EventRecord, Media
from vidcausal.video.footage import Footage
from vidcausal.video.sampling import Uniform


def test_a_question_with_its_options_goes_out_as_published(fakes: Any) -> None:
    model = fakes.Texts("B.")
    sample = fakes.sample("ask", question="Why?\nA. sun\nB. rain", options=("sun", "rain"))
    reply = TextOnly(model).answer(sample, Footage.empty())
    assert model.asked == ["Why?\nA. sun\nB. rain"]
    assert (reply.text, reply.option, reply.option_scores) == ("B.", 1, ())
    assert [step.name for step in reply.steps] == ["ask"]


def test_a_bare_question_gets_its_options_and_no_mention_of_a_video(fakes: Any) -> None:
    model = fakes.Texts("because")
    TextOnly(model).answer(fakes.sample("ask", question="Why?", options=("sun", "rain")), Footage.empty())
    assert "A. sun\nB. rain" in model.asked[0]
    assert "video" not in model.asked[0].lower()


def test_options_are_scored_where_the_model_can(fakes: Any) -> None:
    likes = lambda prompt, option: 0.0 if "Why" in prompt and option == "sun" else -5.0  # noqa: E731
    sample = fakes.sample("ask", question="Why?", options=("sun", "rain"))
    reply = TextOnly(fakes.ScoringTexts("B", likes)).answer(sample, Footage.empty())
    assert reply.option == 0
    assert reply.option_scores == (5.0, 0.0)
    assert TextOnly(fakes.ScoringTexts("B", likes), score=False).answer(sample, Footage.empty()).option == 1


def test_a_video_chat_is_asked_without_frames_and_no_file_is_opened(fakes: Any) -> None:
    model = fakes.Videos("A")
    strategy = TextOnly(model)
    assert isinstance(strategy, Strategy)
    assert isinstance(strategy, Redirecting)
    sample = fakes.sample("ask", question="Why?", options=("a", "b"))
    strategy.answer(sample, fakes.footage(2))
    assert [frames for _, frames in model.asked] == [None]
    assert strategy.shown(sample).media == Media(videos=())


def test_orders_reason_over_the_given_descriptions(fakes: Any) -> None:
    records = tuple(
        EventRecord(0.0, 0.0, text, clip=k) for k, text in enumerate(["bake it", "mix it", "eat it"], start=1)
    )
    sample = fakes.sample("order", goal="make a cake", question="q", meta={"oracle_records": records})
    texts = fakes.Texts("Correct order: 2, 1, 3")
    reply = TextOnly(texts).answer(sample, fakes.footage(5))
    assert "Clip 1: bake it\nClip 2: mix it\nClip 3: eat it" in texts.asked[0]
    assert reply.order == (2, 1, 3)
    steps = ["mix it", "bake it", "eat it"]
    likes = lambda prompt, option: -sum(steps.index(line[3:]) * 10**-n for n, line in enumerate(option.splitlines()))  # noqa: E731
    assert TextOnly(fakes.ScoringTexts("?", likes)).answer(sample, Footage.empty()).order == (2, 1, 3)


def test_what_cannot_be_asked_in_words_says_so(fakes: Any) -> None:
    strategy = TextOnly(fakes.Texts("x"))
    with pytest.raises(ConfigError, match="needs a video"):
        strategy.answer(fakes.sample("ground", goal="pours"), Footage.empty())
    with pytest.raises(ConfigError, match="has none"):
        strategy.answer(fakes.sample("order", goal="bake"), Footage.empty())
    with pytest.raises(ConfigError, match="name a reasoner"):
        TextOnly(fakes.Sees(["a"]))
    assert TextOnly(fakes.Sees(["a"]), fakes.Texts("A")).name == "text"


def test_the_preset(fakes: Any) -> None:
    strategy = create_strategy("text", model=fakes.Texts("A"), max_new_tokens=8)
    assert isinstance(strategy, TextOnly)


def test_a_run_over_questions_without_video(fakes: Any, tmp_path: Path) -> None:
    examples = [{"input": f"Did {n} cause it?\nOptions:\n- Yes\n- No", "target": "Yes"} for n in range(3)]
    path = tmp_path / "causal_judgement.json"
    path.write_text(json.dumps({"examples": examples}))
    result = run(
        TextOnly(fakes.Texts(lambda prompt: "Yes" if "1" not in prompt else "No")),
        BBHCausalJudgement(path),
        policy=Uniform(3),
        output_dir=tmp_path / "run",
        identity={"strategy": "text"},
        progress=False,
    )
    assert result.scores.strict["accuracy"] == pytest.approx(200 / 3)
    assert result.scores.official["accuracy"] == 66.67
    assert [row["error"] for row in result.rows] == [None] * 3


def test_empty_footage() -> None:
    footage = Footage.empty()
    assert (footage.duration, len(footage.frames), footage.clips, footage.speech) == (0.0, 0, (), ())
    assert footage.thumbnails() == []
    assert footage.key == Footage.empty().key
    assert footage.decode_report() == {}
