"""Any video chat as a recognizer: the first stage of RRD (recognition-reasoning decomposition).

Source: pritamqu/VCRBench@5d616a39 models/qwen2_5_vl_rrd.py (the procedure; the wording of the prompts is ours). Two
modes: ``one_shot`` asks for a line "Clip k: …" for every clip; ``iterative`` asks how many clips there are, then for
one sentence on each. Every call is an independent single-turn chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vidcausal.cache import DiskCache, digest
from vidcausal.errors import ConfigError, ModelError, NoClipsError
from vidcausal.parsing import first_number, parse_clip_lines, parse_events
from vidcausal.protocols import VideoChat
from vidcausal.reasoning.prompts import fill, load
from vidcausal.reasoning.transcript import Transcript
from vidcausal.types import EventRecord, Recognition
from vidcausal.video.footage import Clip, Footage

Mode = Literal["one_shot", "iterative"]
MODES: tuple[Mode, ...] = ("one_shot", "iterative")
MAX_CLIPS = 20
"""A counted number of clips is limited to this."""
OFFICIAL_MAX_CLIPS = 1000
"""The published procedure has no limit; beyond this many calls it is an error rather than a run without end."""
_PROMPTS = ("rrd_recognize_one_shot", "rrd_count", "rrd_recognize_clip", "rrd_recognize_segment", "direct_events")


def known_clips(footage: Footage, transcript: Transcript) -> tuple[Clip, ...]:
    """The footage's numbered clips; none, with a note, where title cards were looked for and not found."""
    try:
        return footage.clips
    except NoClipsError as error:
        transcript.note(f"no clips were found in the video ({error})")
        return ()


class ChatRecognizer:
    """Turns a video chat into a recognizer.

    Args:
        model: any video chat.
        mode: ``"one_shot"`` or ``"iterative"``.
        official_compat: keep the published procedure where ours differs: no use of known clip times, no limit of
            20 clips, a count without digits stops (ModelError).
        max_new_tokens: limit of every reply.
        cache: keep what a model with a fingerprint said about a video; looking again costs nothing, then.
    """

    def __init__(
        self,
        model: VideoChat,
        mode: Mode = "one_shot",
        *,
        official_compat: bool = False,
        max_new_tokens: int = 512,
        cache: DiskCache | None = None,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"recognition must be one of {', '.join(MODES)}, got {mode!r}")
        self._model = model
        self._mode = mode
        self._official = official_compat
        self._max_new_tokens = max_new_tokens
        self._cache = cache if isinstance(getattr(model, "fingerprint", None), str) else None

    @property
    def name(self) -> str:
        """The model's name and the mode."""
        return f"{self._model.name}/{self._mode}"

    @property
    def fingerprint(self) -> str:
        """Hash of the model, the settings and the prompts."""
        model = str(getattr(self._model, "fingerprint", self._model.name))
        settings = (self._mode, str(self._official), str(self._max_new_tokens))
        return digest("chat-recognizer", model, *settings, *map(load, _PROMPTS))

    def recognize(
        self,
        footage: Footage,
        *,
        goal: str = "",
        candidates: Sequence[str] = (),
        numbered: bool | None = None,
    ) -> Recognition:
        """One record a numbered clip, or events with times for a video without clips.

        Args:
            footage: what to look at.
            goal: not shown to the model: descriptions should not be led by what ought to be there.
            candidates: not used; a chat writes its own words.
            numbered: the video is made of numbered clips even if none are known yet; None asks the footage.

        Raises:
            ModelError: under ``official_compat``, no number in the reply to the counting prompt.
        """
        if self._cache is None:
            return self._look(footage, numbered)
        key = digest("chat records 1", footage.key, self.fingerprint, str(numbered))
        if (known := Recognition.from_json(self._cache.get_json("records", key))) is not None:
            return known
        found = self._look(footage, numbered)
        self._cache.put_json("records", key, found.to_json())
        return found

    def _look(self, footage: Footage, numbered: bool | None) -> Recognition:
        transcript = Transcript(self._max_new_tokens)
        clips = known_clips(footage, transcript)
        if not clips and not numbered:
            records = self._events(footage, transcript)
        elif self._mode == "one_shot":
            records = self._one_shot(footage, clips, transcript)
        else:
            records = self._iterative(footage, clips, transcript)
        return Recognition(tuple(records), tuple(transcript.steps), tuple(transcript.notes))

    def official_table(self, recognition: Recognition) -> str:
        """The records as the published script hands them on: the raw reply, or its lines "Clip Clip k: …"."""
        if self._mode == "one_shot":
            return "\n".join(step.reply for step in recognition.steps)
        described = [step.reply for step in recognition.steps if step.name == "describe_clip"]
        return "\n".join(f"Clip Clip {number}: {reply}" for number, reply in enumerate(described, start=1))

    def _events(self, footage: Footage, transcript: Transcript) -> list[EventRecord]:
        duration = footage.duration
        prompt = fill("direct_events", duration=f"{duration:.1f}")
        reply = transcript.chat("describe_events", self._model, prompt, footage.frames)
        events = parse_events(reply, duration=duration)
        if events:
            return [EventRecord(e.span.start, e.span.end, e.caption, source=self.name) for e in events]
        transcript.note("no event with times could be read; the whole reply describes the whole video")
        return [EventRecord(0.0, duration, " ".join(reply.split()), source=self.name)]

    def _one_shot(self, footage: Footage, clips: Sequence[Clip], transcript: Transcript) -> list[EventRecord]:
        prompt = fill("rrd_recognize_one_shot", layout="" if self._official else _layout(clips))
        reply = transcript.chat("describe_clips", self._model, prompt, footage.frames)
        found = parse_clip_lines(reply)
        last = len(clips) if clips else MAX_CLIPS
        if beyond := [number for number in found if not 1 <= number <= last]:
            transcript.note(f"descriptions of clips {beyond} were left out: clips are numbered 1 to {last}")
        numbers = range(1, last + 1) if clips else sorted(set(found) - set(beyond))
        if missing := [number for number in numbers if number not in found]:
            transcript.note(f"no description of clips {missing} could be read")
        return [self._record(number, found.get(number, ""), clips, footage.duration) for number in numbers]

    def _iterative(self, footage: Footage, clips: Sequence[Clip], transcript: Transcript) -> list[EventRecord]:
        records = []
        for number in range(1, self._count(footage, clips, transcript) + 1):
            if clips and not self._official:
                frames = footage.clip_frames(number)
                prompt = load("rrd_recognize_segment")
            else:
                frames = footage.frames
                prompt = fill("rrd_recognize_clip", number=number)
            reply = transcript.chat("describe_clip", self._model, prompt, frames)
            records.append(self._record(number, " ".join(reply.split()), clips, footage.duration))
        return records

    def _count(self, footage: Footage, clips: Sequence[Clip], transcript: Transcript) -> int:
        reply = transcript.chat("count_clips", self._model, load("rrd_count"), footage.frames)
        counted = first_number(reply)
        if self._official:
            if counted is None or counted > OFFICIAL_MAX_CLIPS:
                raise ModelError(
                    f"{self._model.name} counted the clips as {reply[:80]!r}; the published script would stop, or ask "
                    "once for each. Use official_compat=false"
                )
            return counted
        if clips:
            if counted != len(clips):
                transcript.note(f"the model counted {counted} clips; the video has {len(clips)}, which is used")
            return len(clips)
        if counted is None:
            transcript.note("the model gave no number of clips; one is assumed")
            return 1
        clamped = min(max(counted, 1), MAX_CLIPS)
        if clamped != counted:
            transcript.note(f"the counted {counted} clips were limited to {clamped}")
        return clamped

    def _record(self, number: int, caption: str, clips: Sequence[Clip], duration: float) -> EventRecord:
        span = next((clip.span for clip in clips if clip.number == number), None)
        start, end = (span.start, span.end) if span is not None else (0.0, duration)
        return EventRecord(start, end, caption, clip=number, source=self.name)


def _layout(clips: Sequence[Clip]) -> str:
    """Where each clip lies, for the prompt; empty when that is not known."""
    return "\n".join(
        f"Clip {clip.number} lasts from {clip.span.start:.1f} to {clip.span.end:.1f} seconds." for clip in clips
    )
