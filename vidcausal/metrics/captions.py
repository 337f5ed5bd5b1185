"""How close captions come to reference captions: CIDEr, BLEU and ROUGE-L, on captions that are tokenized already.

The same figures as pycocoevalcap 1.2 (the COCO caption evaluation), which needs nothing but Python here. METEOR and the
reference tokenizer are Java programs: :mod:`vidcausal.metrics.caption_tools` runs them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Grams: TypeAlias = Counter[tuple[str, ...]]
MOST_WORDS = 4
"""CIDEr and BLEU count sequences of one to so many words."""
CIDER_SIGMA = 6.0
"""How quickly CIDEr punishes a difference in length, in words."""
ROUGE_BETA = 1.2
_SMALL, _TINY = 1e-9, 1e-15


def grams(caption: str) -> Grams:
    """How often each sequence of one to four words is in a tokenized caption."""
    words = caption.split()
    return Counter(tuple(words[i : i + n]) for n in range(1, MOST_WORDS + 1) for i in range(len(words) - n + 1))


# ---- CIDEr ------------------------------------------------------------------------------------------------------


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each candidate, from 0 to 10; how rare words are is counted over these references alone.

    Args:
        candidates: tokenized captions.
        references: the tokenized reference captions of each candidate, at least one.

    Raises:
        ValueError: no reference has a word, so that nothing can be weighed (the published code stops there, too).
    """
    counted = [[grams(reference) for reference in of_one] for of_one in references]
    seen: Counter[tuple[str, ...]] = Counter()
    for of_one in counted:
        seen.update({gram for reference in of_one for gram in reference})
    if not seen:
        raise ValueError("no reference caption has a word")
    weights = _Weights(math.log(len(counted)), seen)
    return [
        _cider_one(weights, grams(candidate), of_one) for candidate, of_one in zip(candidates, counted, strict=True)
    ]


class _Vector:
    """A caption's words, weighed: one mapping and one length for each number of words, and its length in words."""

    def __init__(self, weighed: list[dict[tuple[str, ...], float]], pairs: int) -> None:
        self.weighed = weighed
        self.lengths = [math.sqrt(math.fsum(w * w for w in each.values())) for each in weighed]
        self.pairs = pairs


class _Weights:
    """Weighs sequences of words by how few references hold them."""

    def __init__(self, log_size: float, seen: Mapping[tuple[str, ...], int]) -> None:
        self._log_size, self._seen = log_size, seen

    def vector(self, counts: Grams) -> _Vector:
        weighed: list[dict[tuple[str, ...], float]] = [{} for _ in range(MOST_WORDS)]
        for gram, count in counts.items():
            rarity = self._log_size - math.log(max(1, self._seen.get(gram, 0)))
            weighed[len(gram) - 1][gram] = count * rarity
        pairs = sum(count for gram, count in counts.items() if len(gram) == 2)
        return _Vector(weighed, pairs)


def _cider_one(weights: _Weights, counts: Grams, references: Sequence[Grams]) -> float:
    candidate = weights.vector(counts)
    total = sum(_cider_pair(candidate, weights.vector(reference)) for reference in references)
    return 10.0 * total / len(references)


def _cider_pair(a: _Vector, b: _Vector) -> float:
    # The published code measures a caption's length by its pairs of words, not by its words.
    penalty = math.exp(-((a.pairs - b.pairs) ** 2) / (2 * CIDER_SIGMA**2))
    shares = []
    for own, other, own_length, other_length in zip(a.weighed, b.weighed, a.lengths, b.lengths, strict=True):
        value = math.fsum(min(weight, other[gram]) * other[gram] for gram, weight in own.items() if gram in other)
        shares.append(value / (own_length * other_length) if own_length and other_length else value)
    return penalty * math.fsum(shares) / len(shares)


# ---- BLEU -------------------------------------------------------------------------------------------------------


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """BLEU-1 to BLEU-4 of all candidates together, from 0 to 1; the reference of the closest length counts."""
    right, guessed = [0] * MOST_WORDS, [0] * MOST_WORDS
    length = reference_length = 0
    for candidate, of_one in zip(candidates, references, strict=True):
        size = len(candidate.split())
        length += size
        reference_length += min((abs(len(r.split()) - size), len(r.split())) for r in of_one)[1]
        most: Grams = Counter()
        for reference in of_one:
            most |= grams(reference)
        for gram, count in grams(candidate).items():
            right[len(gram) - 1] += min(most[gram], count)
        for n in range(MOST_WORDS):
            guessed[n] += max(0, size - n)
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for n in range(MOST_WORDS):
        product *= (right[n] + _TINY) / (guessed[n] + _SMALL)
        scores.append(product ** (1 / (n + 1)) * brevity)
    return scores


# ---- ROUGE ------------------------------------------------------------------------------------------------------


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """ROUGE-L of each candidate, from 0 to 1: the longest common subsequence of words."""
    return [_rouge_one(c, of_one) for c, of_one in zip(candidates, references, strict=True)]


def _rouge_one(candidate: str, references: Sequence[str]) -> float:
    own = candidate.split(" ")
    shared = [(_common(reference.split(" "), own), len(reference.split(" "))) for reference in references]
    precision = max(common / len(own) for common, _ in shared)
    recall = max(common / length for common, length in shared)
    if not precision or not recall:
        return 0.0
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]
