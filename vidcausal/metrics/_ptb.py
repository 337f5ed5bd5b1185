"""Splitting captions into words as the PTB tokenizer of the caption scorers does, without Java.

It follows the Penn Treebank's rules as Stanford CoreNLP 3.4.1 applies them to plain captions; odd ones (web addresses,
smileys, telephone numbers) may be split elsewhere.
"""

from __future__ import annotations

import re

PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
"""Tokens that the published scorers leave out. Brackets are lower case by then (``-lrb-``) and stay in."""

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SIGNS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "--", "\u2014": "--", "\u00a3": "#"}
)
_FRACTIONS = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_PAIRS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
}
_ABBREVIATIONS = (
    "mr|mrs|ms|dr|st|jr|sr|vs|etc|inc|ltd|co|corp|prof|gen|col|sgt|capt|lt|rev|gov|sen|rep|no|ft|mt|dept|est|approx|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|a\\.m|p\\.m"
)
_TOKEN = re.compile(
    rf"""
    (?P<number>[$]?\d+(?:[.,:/]\d+)+|\d*\.\d+)            # 3.50, 1,000, 10:30, 1/2
  | (?P<short>(?:[a-z]\.){{2,}}|(?:{_ABBREVIATIONS})\.)   # u.s., mr.
  | (?P<named>[#@][a-z]\w+)                              # hash tags and names
  | (?P<smile>[:;=]-?[()](?!\w))
  | (?P<marks>[?!]{{2,}})
  | (?P<dots>\.\.\.+)
  | (?P<dashes>--+)
  | (?P<clitic>'(?:s|m|d|re|ve|ll)(?![a-z]))
  | (?P<word>[^\W_]+(?:['][a-z]+)*(?:[-/&@_.][^\W_]+(?:['][a-z]+)*)*)
  | (?P<quotes>``|''|"|')
  | (?P<other>\S)
    """,
    re.VERBOSE,
)
_NOT = re.compile(r"(.+)(n't)$")
_OWN = re.compile(r"(.+)('(?:s|m|d|re|ve|ll))$")


def ptb_tokens(caption: str) -> str:
    """Lower-case tokens with blanks between them, without :data:`PUNCTUATION`."""
    text = caption.translate(_SIGNS).lower()
    for sign, written in _FRACTIONS.items():
        text = text.replace(sign, f" {written} ")
    tokens = [token for match in _TOKEN.finditer(text) for token in _split(match)]
    return " ".join(token for token in tokens if token not in PUNCTUATION and token != '"')


def _split(match: re.Match[str]) -> tuple[str, ...]:
    token = match.group()
    if match.lastgroup == "number" and token.startswith("$"):
        return "$", token[1:]
    if match.lastgroup in ("other", "smile"):
        return (token[:-1] + _BRACKETS.get(token[-1], token[-1]),)
    if match.lastgroup != "word":
        return (token,)
    if token in _PAIRS:
        return _PAIRS[token]
    split = _NOT.fullmatch(token) or _OWN.fullmatch(token)
    return (split[1], split[2]) if split else (token,)
