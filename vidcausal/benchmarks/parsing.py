"""The parsers that benchmarks share under the strict policy; one code for benchmarks, strategies and the Python API.

Official parsers are not here: each lives with its benchmark, bug for bug.
"""

from vidcausal.parsing import (
    normalize_answer,
    parse_choice,
    parse_clip_lines,
    parse_events,
    parse_order,
    parse_spans,
)

__all__ = ["normalize_answer", "parse_choice", "parse_clip_lines", "parse_events", "parse_order", "parse_spans"]
