"""The two Java programs of caption evaluation, run as published scorers run them: METEOR 1.5 and the PTB tokenizer.

Both jars come with the package pycocoevalcap (``pip install vidcausal[captions]``) and need a Java runtime. Without
them there is no METEOR, nothing else is called so, and captions are tokenized by :mod:`vidcausal.metrics._ptb`, whose
tokens can differ here and there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from vidcausal.errors import MissingDependencyError
from vidcausal.metrics._ptb import PUNCTUATION, ptb_tokens

TIMEOUT = 3600.0
"""Seconds after which a Java program is ended."""
_QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Short runs: one thread collects garbage, code is compiled once. Changes no figure."""
_AT_ONCE = 64
"""Lines in flight: METEOR's answers to so many fit the pipe, so that neither side waits for the other."""
_OTHER_LINE_ENDS = frozenset("\r\x0b\x0c\x85\u2028\u2029")


class CaptionToolError(MissingDependencyError):
    """A Java program cannot be run, or did not finish; the message says which and why."""

    code = "caption_tool"


@dataclass(frozen=True)
class Jars:
    """Where Java and its two programs are."""

    java: str
    meteor: Path
    tokenizer: Path


def find_jars() -> Jars:
    """Java (``$JRE_BIN_JAVA``, ``$JAVA_HOME/bin/java``, or ``java`` on the path) and the jars of pycocoevalcap.

    Raises:
        CaptionToolError: one of them is missing.
    """
    home = os.environ.get("JAVA_HOME")
    named = [os.environ.get("JRE_BIN_JAVA"), str(Path(home) / "bin" / "java") if home else None, "java"]
    java = next((found for name in named if name and (found := shutil.which(name))), None)
    if java is None:
        raise CaptionToolError("no Java runtime was found (install one, for example default-jre-headless)")
    spec = importlib.util.find_spec("pycocoevalcap")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []
    for folder in folders:
        meteor = folder / "meteor" / "meteor-1.5.jar"
        tokenizer = folder / "tokenizer" / "stanford-corenlp-3.4.1.jar"
        if meteor.is_file() and tokenizer.is_file():
            return Jars(java, meteor, tokenizer)
    raise CaptionToolError("the jars of the package pycocoevalcap were not found: pip install 'vidcausal[captions]'")


# ---- METEOR -----------------------------------------------------------------------------------------------------


class Meteor:
    """METEOR 1.5, English, normalizing: the jar as pycocoevalcap starts it. A context manager.

    Args:
        jars: where the program is.
        timeout: seconds after which it is ended.

    Raises:
        CaptionToolError: it cannot be started.
    """

    def __init__(self, jars: Jars, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._known: dict[str, str] = {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        command = [jars.java, *_QUICK, "-Xmx2G", "-jar", str(jars.meteor), "-", "-", "-stdio", "-l", "en", "-norm"]
        try:
            self._process = subprocess.Popen(
                command,
                cwd=jars.meteor.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            raise CaptionToolError(f"METEOR could not be started: {error}") from error
        self._timer = threading.Timer(timeout, self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Meteor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was still to be written to a program that has ended
                    continue

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
        """METEOR of all candidates together, and of each one; from 0 to 1.

        Raises:
            CaptionToolError: the program ended, or took too long.
        """
        if not candidates:
            return 0.0, []
        lines = [
            " ||| ".join(("SCORE", " ||| ".join(of_one), candidate.replace("|||", "").replace("  ", " ")))
            for candidate, of_one in zip(candidates, references, strict=True)
        ]
        self._learn(line for line in dict.fromkeys(lines) if line not in self._known)
        self._write([" ||| ".join(["EVAL", *(self._known[line] for line in lines)])])
        scores = [float(self._read()) for _ in lines]
        return float(self._read()), scores

    def _learn(self, lines: Iterator[str]) -> None:
        asked = list(lines)
        for start in range(0, len(asked), _AT_ONCE):
            block = asked[start : start + _AT_ONCE]
            self._write(block)
            for line in block:
                self._known[line] = self._read()

    def _write(self, lines: Sequence[str]) -> None:
        stream = _open(self._process.stdin)
        try:
            stream.write("".join(line + "\n" for line in lines).encode())
            stream.flush()
        except OSError as error:
            raise self._ended() from error

    def _read(self) -> str:
        line = _open(self._process.stdout).readline()
        if not line:
            raise self._ended()
        return line.decode().strip()

    def _ended(self) -> CaptionToolError:
        self._process.wait()
        if not self._timer.is_alive():
            return CaptionToolError(f"METEOR did not finish within {self._timeout:g} s")
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return CaptionToolError(f"METEOR ended by itself: {said[0] if said else 'it said nothing'}")


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise CaptionToolError("METEOR was started without pipes")
    return stream


# ---- the tokenizer ----------------------------------------------------------------------------------------------


def java_tokens(captions: Sequence[str], jars: Jars, timeout: float = TIMEOUT) -> list[str]:
    """Captions as the PTB tokenizer of Stanford CoreNLP 3.4.1 splits them: lower case, without punctuation.

    All captions go through one run of the program, a line each; a caption with an odd line end (a form feed, say)
    shifts the lines of those after it, as it does in the published scorers.

    Raises:
        CaptionToolError: the program failed, took too long, or gave fewer lines than captions.
    """
    apart = any(_OTHER_LINE_ENDS.intersection(caption) for caption in captions)
    asked = list(captions) if apart else list(dict.fromkeys(captions))
    if not asked:
        return []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "captions.txt"
        file.write_bytes("\n".join(caption.replace("\n", " ") for caption in asked).encode())
        command = [jars.java, *_QUICK, "-cp", str(jars.tokenizer), "edu.stanford.nlp.process.PTBTokenizer"]
        command += ["-preserveLines", "-lowerCase", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, check=True)
        except subprocess.TimeoutExpired as error:
            raise CaptionToolError(f"the PTB tokenizer did not finish within {timeout:g} s") from error
        except (OSError, subprocess.CalledProcessError) as error:
            raise CaptionToolError(f"the PTB tokenizer failed: {error}") from error
    lines = done.stdout.decode(errors="replace").split("\n")
    if len(lines) < len(asked):
        raise CaptionToolError(f"the PTB tokenizer gave {len(lines)} lines for {len(asked)} captions")
    tokens = [" ".join(w for w in line.rstrip().split(" ") if w not in PUNCTUATION) for line in lines[: len(asked)]]
    if apart:
        return tokens
    by_caption = dict(zip(asked, tokens, strict=True))
    return [by_caption[caption] for caption in captions]


# ---- both -------------------------------------------------------------------------------------------------------


@dataclass
class CaptionTools:
    """What a scorer of captions works with.

    Attributes:
        meteor: METEOR, or None where it cannot be had.
        notes: what differs from the published scorers, for the reader of the scores.
    """

    meteor: Meteor | None = None
    notes: list[str] = field(default_factory=list)
    jars: Jars | None = None
    timeout: float = TIMEOUT

    def tokenize(self, captions: Sequence[str]) -> list[str]:
        """Captions as their tokens with blanks between them, in their order."""
        if self.jars is None:
            return [ptb_tokens(caption) for caption in captions]
        return java_tokens(captions, self.jars, self.timeout)


@contextmanager
def caption_tools(timeout: float = TIMEOUT) -> Iterator[CaptionTools]:
    """The Java programs where they can be had, what stands in for the tokenizer where not; ``notes`` says which.

    METEOR has no stand-in: ``meteor`` is None then.
    """
    try:
        jars = find_jars()
        meteor = Meteor(jars, timeout)
    except CaptionToolError as error:
        yield CaptionTools(
            notes=[
                f"METEOR and all figures made with it were not computed: {error}",
                "captions were tokenized without the PTB tokenizer of the published scorers, by rules that follow it: "
                "CIDEr, BLEU and ROUGE_L may differ in the last digits",
            ]
        )
        return
    with meteor:
        yield CaptionTools(meteor, [], jars, timeout)
