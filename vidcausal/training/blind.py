"""A model that answers multiple-choice questions without seeing anything: what it gets right, the words gave away.

It reads the question's and the options' words only. Each option is scored by a small network from learned bags of words
and of word pairs: the stem's, the option's, their products, and the same of the other four options, so it can learn
which answers are frequent after which stem, which option is the odd one out, and which repeats the stem's words. It is
chosen on questions it was not trained on, one epoch for each type, so that a type that leaks is found even where
the other types can only be overfitted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidcausal.errors import DataError
from vidcausal.worlds.story import Question

_PADDING, _UNKNOWN = 0, 1


@dataclass(frozen=True)
class BlindSettings:
    """Sizes and training of :class:`BlindReader`; ``held_out`` is the share of the questions that chooses the epoch."""

    width: int = 24
    hidden: int = 96
    epochs: int = 10
    patience: int = 3
    batch: int = 512
    learning_rate: float = 3e-3
    held_out: float = 0.15
    seed: int = 0


class _Scorer(nn.Module):
    """Scores of options from ids of words and word pairs."""

    def __init__(self, words: int, pairs: int, options: int, settings: BlindSettings) -> None:
        super().__init__()
        width = settings.width
        self.words = nn.EmbeddingBag(words, width, mode="sum", padding_idx=_PADDING)
        self.pairs = nn.EmbeddingBag(pairs, width, mode="sum", padding_idx=_PADDING)
        for table in (self.words, self.pairs):
            nn.init.normal_(table.weight, std=0.3)
            table.weight.data[_PADDING] = 0
        self.position = nn.Parameter(torch.zeros(options, width))
        self.mlp = nn.Sequential(
            nn.Linear(12 * width, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, 1),
        )

    def forward(self, words: Tensor, pairs: Tensor) -> Tensor:
        """Scores ``[b, o]`` from ids ``[b, 1 + o, l]``, the stem first."""
        bags = [self._bags(self.words, words), self._bags(self.pairs, pairs)]
        parts = [self.position.expand(words.shape[0], -1, -1)]
        stems, options = zip(*((bag[:, :1], bag[:, 1:]) for bag in bags), strict=True)
        for stem, option in zip(stems, options, strict=True):
            others = (option.sum(1, keepdim=True) - option) / (option.shape[1] - 1)
            parts += [stem.expand_as(option), option, stem * option, others, option * others]
        parts.append(stems[0] * options[1])
        scores: Tensor = self.mlp(torch.cat(parts, -1)).squeeze(-1)
        return scores

    @staticmethod
    def _bags(table: nn.EmbeddingBag, ids: Tensor) -> Tensor:
        bag: Tensor = table(ids.flatten(0, 1))
        return bag.reshape(*ids.shape[:2], -1)


@dataclass
class _Vocabulary:
    """Ids of words and of pairs of neighboring words; a text is split once."""

    words: dict[str, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    texts: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    growing: bool = True

    def ids(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of the words and of the word pairs of ``text``, its ends among the neighbors."""
        known = self.texts.get(text)
        if known is None:
            words = text.lower().replace("?", " ?").split()
            pairs = list(zip(["^", *words], [*words, "$"], strict=True))
            known = self._of(self.words, words), self._of(self.pairs, pairs)
            self.texts[text] = known
        return known

    def _of(self, table: dict[str, int] | dict[tuple[str, str], int], items: Sequence[object]) -> list[int]:
        ids: dict[object, int] = table  # type: ignore[assignment]
        if self.growing:
            return [ids.setdefault(item, len(ids) + _UNKNOWN + 1) for item in items]
        return [ids.get(item, _UNKNOWN) for item in items]


@dataclass(frozen=True)
class _Encoded:
    """Ids of questions: ``[n, 1 + o, l]`` words and pairs, ``[n]`` answers."""

    words: Tensor
    pairs: Tensor
    answers: Tensor

    def batches(self, order: Tensor, size: int) -> Iterator[_Encoded]:
        for rows in torch.split(order, size):
            yield _Encoded(self.words[rows], self.pairs[rows], self.answers[rows])


class BlindReader:
    """Answers from words alone; made by :func:`train_blind`."""

    def __init__(self, vocabulary: _Vocabulary, best: dict[str, _Scorer], fallback: _Scorer, options: int) -> None:
        self._vocabulary = vocabulary
        self._best = best
        self._fallback = fallback
        self._options = options

    def answers(self, questions: Sequence[Question]) -> list[int]:
        """The option (0-based) it takes for right, for each question.

        Raises:
            DataError: a question has another number of options than those it was trained on.
        """
        chosen = [0] * len(questions)
        for kind in dict.fromkeys(question.type for question in questions):
            rows = [row for row, question in enumerate(questions) if question.type == kind]
            encoded = _encode(self._vocabulary, [questions[row] for row in rows], self._options)
            scores = _scores(self._best.get(kind, self._fallback), encoded)
            for row, answer in zip(rows, scores.argmax(1).tolist(), strict=True):
                chosen[row] = answer
        return chosen


def train_blind(questions: Iterable[Question], settings: BlindSettings | None = None) -> BlindReader:
    """A blind reader trained on ``questions``, the last share of which chooses the epoch of each type.

    Questions of one story should stand together, so that no story is in both shares. The same questions and settings
    give the same reader on the same machine.

    Raises:
        DataError: fewer than 20 questions, or questions with different numbers of options.
    """
    settings = settings or BlindSettings()
    every = list(questions)
    if len(every) < 20:
        raise DataError(f"a blind model needs at least 20 questions to learn from, got {len(every)}; make more stories")
    options = len(every[0].options)
    cut = len(every) - max(1, round(len(every) * settings.held_out))
    vocabulary = _Vocabulary()
    train = _encode(vocabulary, every[:cut], options)
    vocabulary.growing = False
    vocabulary.texts.clear()
    held = _encode(vocabulary, every[cut:], options)
    types = [question.type for question in every[cut:]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        scorer = _Scorer(len(vocabulary.words) + 2, len(vocabulary.pairs) + 2, options, settings)
        best, fallback = _fit(scorer, train, held, types, settings)
    return BlindReader(vocabulary, best, fallback, options)


def _fit(
    scorer: _Scorer, train: _Encoded, held: _Encoded, types: Sequence[str], settings: BlindSettings
) -> tuple[dict[str, _Scorer], _Scorer]:
    """The scorer at each type's best epoch by held-out loss, and at the best of all types."""
    optimizer = torch.optim.Adam(scorer.parameters(), lr=settings.learning_rate)
    rows = {kind: torch.tensor([t == kind for t in types]) for kind in dict.fromkeys(types)}
    least, best = dict.fromkeys((*rows, ""), math.inf), dict.fromkeys((*rows, ""), scorer)
    last = 0
    for epoch in range(settings.epochs):
        scorer.train()
        for part in train.batches(torch.randperm(len(train.answers)), settings.batch):
            optimizer.zero_grad()
            functional.cross_entropy(scorer(part.words, part.pairs), part.answers).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses = functional.cross_entropy(_scores(scorer, held), held.answers, reduction="none")
        snapshot = copy.deepcopy(scorer).eval()
        for kind, loss in [(kind, losses[mask].mean()) for kind, mask in rows.items()] + [("", losses.mean())]:
            if float(loss) < least[kind] - 1e-4:
                least[kind], best[kind], last = float(loss), snapshot, epoch
        if epoch - last >= settings.patience:
            break
    return best, best.pop("")


@torch.inference_mode()
def _scores(scorer: _Scorer, encoded: _Encoded) -> Tensor:
    scorer.eval()
    rows = torch.arange(len(encoded.answers))
    return torch.cat([scorer(part.words, part.pairs) for part in encoded.batches(rows, 2048)])


def _encode(vocabulary: _Vocabulary, questions: Sequence[Question], options: int) -> _Encoded:
    for question in questions:
        if len(question.options) != options:
            raise DataError(
                f"{question.text!r} has {len(question.options)} options, others have {options}; train on one number"
            )
    texts = [vocabulary.ids(text) for question in questions for text in (question.text, *question.options)]
    words, pairs = (_padded([text[part] for text in texts]).reshape(len(questions), 1 + options, -1) for part in (0, 1))
    return _Encoded(words, pairs, torch.tensor([question.answer for question in questions]))


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[_PADDING] * (longest - len(row))] for row in rows], dtype=torch.int32)
