"""What the step ordering benchmarks share: questions drawn from annotated steps, and their score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from vidcausal.benchmarks.annotated import AnnotatedBenchmark
from vidcausal.benchmarks.order_score import Answer, score_orders
from vidcausal.benchmarks.ordering._draw import POLICIES, Policy, Procedure, Shuffled, draw
from vidcausal.cache import digest
from vidcausal.errors import ConfigError, DataError
from vidcausal.parsing import parse_order
from vidcausal.types import EventRecord, Media, Prediction, Sample, Scores, Span

Show = Literal["text", "clips"]
LENGTHS = (3, 4, 5, 6, 7)
_MOST = 9
_PROMPTS = Path(__file__).with_name("prompts")


class OrderingBenchmark(AnnotatedBenchmark):
    """One question a video: put n shuffled steps in order. See :mod:`vidcausal.benchmarks.ordering._draw`.

    The id of a question is the video's and six digits that change with what is shown.

    Nobody publishes a scorer for this protocol: ``official`` is empty; ``strict`` has VCRBench's figures.

    Args:
        annotations: the official file or folder.
        data_dir: where it is looked for, see :class:`~vidcausal.benchmarks.annotated.AnnotatedBenchmark`.
        video_root: folder of the videos.
        show: ``text``: the question tells what each clip shows, no video is needed; ``clips``: the stretches of the
            video.
        policy: ``uniform`` or ``vcrbench`` (never the true order as shown, never its reversal).
        lengths: numbers of steps that may be drawn, from 2 to 9.
        seed: another seed, other questions.
        oracle_captions: hand the annotated texts (sorted, which tells nothing about the order) to recognizers that
            match candidates. Scores are then a ceiling, not a result.

    Raises:
        ConfigError: an argument that is not one of these.
    """

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
        *,
        show: Show = "text",
        policy: Policy = "uniform",
        lengths: Sequence[int] = LENGTHS,
        seed: int = 0,
        oracle_captions: bool = False,
    ) -> None:
        super().__init__(annotations, data_dir, video_root)
        if show not in get_args(Show):
            raise ConfigError(f"show must be one of {', '.join(get_args(Show))}, got {show!r}")
        if policy not in POLICIES:
            raise ConfigError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
        if not lengths or not all(isinstance(n, int) and 2 <= n <= _MOST for n in lengths):
            raise ConfigError(
                f"lengths must be whole numbers from 2 to {_MOST}, for example [3, 4, 5], got {lengths!r}"
            )
        self._show, self._policy, self._lengths, self._seed = show, policy, tuple(lengths), seed
        self._oracle_captions = oracle_captions

    @abstractmethod
    def procedures(self, path: Path) -> Iterable[Procedure]:
        """Every annotated video of the official file, in its order.

        Raises:
            DataError: malformed; the message names the place.
        """

    def load(self, path: Path) -> Iterator[Sample[Answer]]:
        """A question for each video that has enough steps."""
        for procedure in self.procedures(path):
            drawn = draw(procedure, self._lengths, self._policy, self._seed)
            if drawn is not None:
                yield self._sample(procedure, drawn)

    def _sample(self, procedure: Procedure, drawn: Shuffled) -> Sample[Answer]:
        clips, records = drawn.clips, _records(drawn)
        if self._show == "text":
            media = Media(videos=())
            lines = "\n".join(f"Clip {record.clip}: {record.caption}" for record in records)
            question = _template("text").replace("{clips}", lines)
        else:
            path = str(self.video_path(procedure.video))
            media = Media((path,) * len(clips), clip_spans=tuple(Span(c.start, c.end) for c in clips))
            question = _template("clips").replace("{count}", str(len(clips)))
        return Sample(
            id=f"{procedure.id}/{_mark(drawn)}",
            task="order",
            question=question.replace("{goal}", procedure.goal),
            media=media,
            target=drawn.order,
            goal=procedure.goal,
            candidates=tuple(sorted({r.caption for r in records})) if self._oracle_captions else (),
            meta={"video": procedure.video, "groups": {"goal": procedure.goal}, "oracle_records": records},
        )

    def is_right(self, prediction: Prediction[Answer]) -> bool | None:
        """Whether the order in a reply's text is the true one; None where the text gives none."""
        target = prediction.sample.target or ()
        order = parse_order(prediction.reply, len(target))
        return None if order is None else order == target

    def score(self, predictions: Sequence[Prediction[Answer]], *, expected: int | None = None) -> Scores:
        """Accuracy, step accuracy, Kendall's tau over every question, with chance and constant answers by length."""
        return score_orders(
            self.name,
            self._samples,
            predictions,
            lambda given, notes: {},
            expected=expected,
            video_of=lambda sample: str(sample.meta["video"]),
            notes=[
                f"our own protocol (policy {self._policy}, lengths {list(self._lengths)}, seed {self._seed}): "
                "nobody publishes a scorer for it"
            ],
        )


def _records(drawn: Shuffled) -> tuple[EventRecord, ...]:
    """What a perfect recognizer says of the clips laid one after the other, so that no time tells their order."""
    records, start = [], 0.0
    for number, clip in enumerate(drawn.clips, start=1):
        end = start + clip.end - clip.start
        records.append(EventRecord(start, end, " ".join(clip.text.split()), clip=number, source="annotation"))
        start = end
    return tuple(records)


def _mark(drawn: Shuffled) -> str:
    """Six digits that change with the question, so that answers to another draw are not taken for answers to it."""
    return digest(*(f"{clip.start} {clip.end} {clip.text}" for clip in drawn.clips))[:6]


@cache
def _template(name: str) -> str:
    return (_PROMPTS / f"{name}.txt").read_text(encoding="utf-8").strip()


def seconds(value: Any, where: str) -> float:
    """A time of an annotation.

    Raises:
        DataError: not a number.
    """
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {value!r} is not a number of seconds") from error
