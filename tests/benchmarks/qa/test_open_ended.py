"""The judge of free answers, and MSVD-QA, MSRVTT-QA and TGIF-QA on files that were made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa._open_judge import Case, Verdict, judge_prompt, judged, parse_verdict, read_verdicts
from vidcausal.benchmarks.qa.activitynet_qa import ActivityNetQA
from vidcausal.benchmarks.qa.msrvtt_qa import MSRVTTQA
from vidcausal.benchmarks.qa.msvd_qa import MSVDQA
from vidcausal.benchmarks.qa.tgif_qa import TGIFQA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError, OutputError


class Scripted:
    """A judge that says what it was told to say, and counts how often it was asked."""

    name = "scripted"

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.prompts: list[str] = []

    def chat(self, prompt: str, *, max_new_tokens: int = 512) -> str:
        self.prompts.append(prompt)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


# ---- verdicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("{'pred': 'yes', 'score': 4}", Verdict(True, 4)),
        ('{"pred": "no", "score": 0}', Verdict(False, 0)),
        ("{'pred': 'yes', 'score': 4.8}", Verdict(True, 4)),  # int() cuts, as published
        ("```python\n{'pred': 'No', 'score': '2'}\n```", Verdict(False, 2)),
        ("{'score': 5, 'pred': 'Yes'}", Verdict(True, 5)),
        ("<think>{'pred': 'no', 'score': 1}</think>{'pred': 'yes', 'score': 5}", Verdict(True, 5)),
        ("pred: yes\nscore: 3", Verdict(True, 3)),
        ("{'pred': 'yes'}", None),
        ("{'score': 3}", None),
        ("{'pred': 'maybe', 'score': 3}", None),
        ("{'pred': 'yes', 'score': 6}", None),
        ("The answer is right.", None),
        ("", None),
        ("{'pred': __import__('os').system('true'), 'score': 3}", None),
    ],
)
def test_verdicts_out_of_replies(reply: str, expected: Verdict | None) -> None:
    assert parse_verdict(reply) == expected


def test_the_prompt_holds_question_answer_and_reply() -> None:
    prompt = judge_prompt(Case("1", "what is it", "a dog", "a puppy"))
    assert "Question: what is it\nCorrect Answer: a dog\nPredicted Answer: a puppy\n\n" in prompt
    assert prompt.endswith("{'pred': 'yes', 'score': 4.8}.")


CASES = [Case("1", "q", "dog", "puppy"), Case("2", "q", "cat", "car")]


def test_verdicts_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    kept = tmp_path / "v.jsonl"
    first = Scripted("{'pred': 'yes', 'score': 4}", "{'pred': 'no', 'score': 1}")
    found = judged(first, CASES, kept)
    assert found == {"1": Verdict(True, 4), "2": Verdict(False, 1)}
    again = Scripted("{'pred': 'no', 'score': 0}")
    assert judged(again, CASES, kept) == found
    assert again.prompts == []
    assert judged(again, [Case("1", "q", "dog", "another reply")], kept) == {"1": Verdict(False, 0)}
    assert len(again.prompts) == 1


def test_another_judge_is_asked_itself(tmp_path: Path) -> None:
    kept = tmp_path / "v.jsonl"
    judged(Scripted("{'pred': 'yes', 'score': 4}"), CASES, kept)
    other = Scripted("{'pred': 'no', 'score': 0}")
    other.name = "other"
    assert judged(other, CASES, kept)["1"] == Verdict(False, 0)


def test_a_reply_without_verdict_is_asked_for_again_and_never_kept(tmp_path: Path) -> None:
    kept = tmp_path / "v.jsonl"
    late = Scripted("hm", "hm", "{'pred': 'yes', 'score': 5}")
    assert judged(late, CASES[:1], kept) == {"1": Verdict(True, 5)}
    mute = Scripted("hm")
    assert judged(mute, CASES[1:], kept) == {"2": None}
    assert len(mute.prompts) == 3
    assert len(read_verdicts(kept)) == 1


def test_half_a_line_at_the_end_costs_one_verdict(tmp_path: Path) -> None:
    kept = tmp_path / "v.jsonl"
    judged(Scripted("{'pred': 'yes', 'score': 4}"), CASES[:1], kept)
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"id": "2", "jud')
    assert judged(Scripted("{'pred': 'no', 'score': 1}"), CASES, kept)["2"] == Verdict(False, 1)
    assert len(read_verdicts(kept)) == 2


def test_a_file_that_is_something_else_is_not_written_to(tmp_path: Path) -> None:
    other = write(tmp_path / "v.jsonl", [1, 2])
    with pytest.raises(DataError, match="not a file of a judge's verdicts"):
        judged(Scripted("x"), CASES, other)
    with pytest.raises(OutputError, match="cannot be kept"):
        judged(Scripted("{'pred': 'no', 'score': 1}"), CASES, tmp_path / "nowhere" / "v.jsonl")


# ---- the judge in a benchmark -----------------------------------------------------------------------------------


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [
        {"id": 1, "video_id": 7, "question": "what is chasing a ball?", "answer": "dog"},
        {"id": 2, "video_id": 7, "question": "who throws the ball?", "answer": "man"},
        {"id": 3, "video_id": 9, "question": "which color is it?", "answer": "red"},
    ]
    return write(tmp_path / "test_qa.json", rows)


def test_a_judge_adds_its_figures(questions: Path, tmp_path: Path) -> None:
    judge = Scripted("{'pred': 'yes', 'score': 4}", "{'pred': 'no', 'score': 1}")
    bench = MSVDQA(questions, judge=judge)
    bench.verdicts = tmp_path / "v.jsonl"
    predictions = bench.predictions([{"id": "1", "reply": "a puppy"}, {"id": "2", "reply": "woman"}])
    scores = bench.score(predictions)
    assert scores.strict["accuracy"] == 0.0
    assert scores.strict["judge accuracy"] == pytest.approx(100 / 3)  # the unanswered one is wrong
    assert scores.strict["judge score"] == pytest.approx(5 / 3)
    assert scores.strict["judge as published"] == {"Accuracy": 0.5, "Average score": 2.5}
    assert any("judged by scripted" in note for note in scores.notes)
    assert "Question: what is chasing a ball?\n" in judge.prompts[0]
    assert bench.score(predictions).strict == scores.strict
    assert len(judge.prompts) == 2


def test_without_a_judge_a_note_says_so(questions: Path, tmp_path: Path) -> None:
    scores = score_file("msvd_qa", write(tmp_path / "p.json", [{"id": 1, "answer": "Dog."}]), questions)
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert "judge accuracy" not in scores.strict
    assert any(note.startswith("no judge:") for note in scores.notes)


def test_a_name_is_not_a_judge(questions: Path) -> None:
    bench = MSVDQA(questions, judge="openai:http://localhost:1/v1#x")
    with pytest.raises(ConfigError, match="is still the name"):
        bench.score(bench.predictions([{"id": "1", "reply": "dog"}]))


def test_verdicts_lie_beside_the_predictions(questions: Path, tmp_path: Path) -> None:
    bench = MSVDQA(questions)
    path = write(tmp_path / "mine.json", [{"id": 1, "answer": "dog"}])
    bench.read_submission(path)
    assert bench.verdicts == tmp_path / "mine.verdicts.jsonl"


# ---- the sets ---------------------------------------------------------------------------------------------------


def test_msvd_and_msrvtt_files_as_published(questions: Path, tmp_path: Path) -> None:
    submission = write(
        tmp_path / "prediction.json",
        [{"id": 1, "answer": "dog"}, {"id": 2, "answer": "Man"}, {"id": 3, "answer": "blue"}],
    )
    scores = score_file("msrvtt_qa", submission, questions)
    assert scores.official == {"acc": 0.33333}
    assert scores.strict["accuracy"] == pytest.approx(200 / 3)
    assert scores.strict["by type"] == {"other": 0.0, "what": 100.0, "who": 100.0}
    first = next(MSRVTTQA(questions).samples())
    assert Path(first.media.videos[0]).name == "video7.mp4"
    assert first.question == "What is chasing a ball? Answer the question using a single word or phrase."
    assert Path(next(MSVDQA(questions).samples()).media.videos[0]).name == "vid7.mp4"


def test_pairs_of_files_are_joined(tmp_path: Path) -> None:
    write(tmp_path / "test_q.json", [{"video_name": "clip", "question": "what is it", "question_id": "v_1"}])
    write(tmp_path / "test_a.json", [{"answer": "dog", "question_id": "v_1"}])
    for name in ("test_q.json", "test_a.json"):
        (sample,) = MSVDQA(tmp_path / name).samples()
        assert (sample.target, sample.meta["asked"], sample.meta["video"]) == ("dog", "what is it", "clip")
    (found,) = MSVDQA(tmp_path).samples()
    assert found.id == "v_1"


def test_an_unknown_id_stops_the_official_score(questions: Path, tmp_path: Path) -> None:
    rows = [{"id": 1, "answer": "dog"}, {"id": 99, "answer": "dog"}]
    scores = score_file("msvd_qa", write(tmp_path / "p.json", rows), questions)
    assert scores.official == {}
    assert any("'99'" in note for note in scores.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "non-empty JSON list"),
        ("3", "non-empty JSON list"),
        ("nope", "is not JSON"),
        ('[{"question": "x", "answer": "y"}]', 'needs "id"'),
        ('[{"id": NaN, "question": "x", "answer": "y"}]', 'needs "id"'),
        ('[{"id": 1, "question": "x", "answer": 5}]', "answer must be a text"),
    ],
)
def test_bad_files_of_pairs(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "test_qa.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(MSVDQA(path).samples())


HEADER = "gif_name\tquestion\tanswer\ttype\tvid_id\tkey\tdescription\n"


def test_tgif_frameqa_as_published(tmp_path: Path) -> None:
    path = tmp_path / "Test_frameqa_question.csv"
    path.write_text(
        HEADER
        + 'tumblr_a\twhat is the "thing" ?\tcookie\t0\tFRAMEQA1\t5\ta cookie .\n'
        + "tumblr_b\thow many dogs ?\ttwo\t1\tFRAMEQA2\t6\ttwo dogs .\n",
        encoding="utf-8",
    )
    first, second = TGIFQA(path).samples()
    assert (first.id, first.target, first.meta["groups"]) == ("FRAMEQA1", "cookie", {"type": "object"})
    assert first.question == 'What is the "thing"? Answer the question using a single word or phrase.'
    assert Path(second.media.videos[0]).name == "tumblr_b.gif"
    submission = write(tmp_path / "p.json", [{"vid_id": "FRAMEQA1", "answer": "cookie"}])
    scores = score_file("tgif_qa", submission, path)
    assert scores.official == {"acc": 0.5}
    assert scores.strict["by type"] == {"number": 0.0, "object": 100.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gif_name,question\na,b\n", "line 2: no 'gif_name'"),
        (HEADER + "g\tq\ta\t7\tid\tk\td\n", "line 2: type must be"),
        (HEADER, "holds no question"),
        (HEADER + "g\tq\n", "line 2: no 'answer'"),
    ],
)
def test_bad_tgif_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "Test_frameqa_question.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(TGIFQA(path).samples())
    with pytest.raises(DataError):
        list(TGIFQA(tmp_path / "none.csv").samples())


def test_activitynet_takes_a_judge_too(tmp_path: Path) -> None:
    path = write(tmp_path / "test_a.json", [{"question_id": "v_a_1", "type": 3, "answer": "yes"}])
    bench = ActivityNetQA(path, judge=Scripted("{'pred': 'yes', 'score': 5}"))
    scores = bench.score(bench.predictions([{"id": "v_a_1", "reply": "Yes, he is."}]))
    assert scores.strict["judge accuracy"] == 100.0


# ---- who creates the judge ----------------------------------------------------------------------------------------


def test_the_name_of_a_judge_becomes_a_model_where_models_are_created(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidcausal import api
    from vidcausal.benchmarks import score_file as module
    from vidcausal.evaluation import build

    named: list[str] = []

    def create(name: str, **settings: Any) -> Scripted:
        named.append(name)
        return Scripted("{'pred': 'yes', 'score': 3}")

    monkeypatch.setattr(build, "create_reasoner", create)
    monkeypatch.setattr(
        module, "create_benchmark", lambda name, **more: MSVDQA(more["annotations"], judge="openai:http://host/v1#m")
    )
    path = write(tmp_path / "mine.json", [{"id": 1, "answer": "puppy"}])
    scores = api.score(path, "msvd_qa", annotations=questions)
    assert named == ["openai:http://host/v1#m"]
    assert scores.strict["judge accuracy"] == pytest.approx(100 / 3)
    assert len(read_verdicts(tmp_path / "mine.verdicts.jsonl")) == 1
    bench = MSVDQA(questions, judge="x")
    build.give_judge(bench, tmp_path, device="cpu")
    assert bench.verdicts == tmp_path / "verdicts.jsonl"
    assert isinstance(bench.judge, Scripted)
    assert build.describe(bench) == build.describe(MSVDQA(questions))  # a judge does not decide the predictions


def test_benchmarks_without_a_judge_are_left_alone(questions: Path, tmp_path: Path) -> None:
    from vidcausal.benchmarks.causal.mecd import MECD
    from vidcausal.evaluation import build

    bench = MECD(questions)
    build.give_judge(bench, tmp_path)
    assert not hasattr(bench, "judge")
    assert not hasattr(bench, "verdicts")


def test_a_benchmark_that_was_used_describes_itself_as_before(questions: Path) -> None:
    from vidcausal.evaluation import build

    bench = MSVDQA(data_dir=questions.parent)
    before = build.describe(bench)
    bench.score(bench.predictions([{"id": "1", "reply": "dog"}]))
    assert build.describe(bench) == before  # else a run could not be resumed with the same object
