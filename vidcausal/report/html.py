"""A run's folder as one HTML page that needs nothing else: pictures inline, no script from elsewhere.

Reads ``report.json``, ``predictions.jsonl`` and ``media/*.json`` and writes ``report.html``. Everything shown comes
from these files, so a page can be made again without a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import write_atomic
from vidcausal.errors import DataError
from vidcausal.metrics.grounding import span_iou
from vidcausal.report.timeline import Box, Lane, timeline_svg
from vidcausal.types import Span

MAX_SAMPLES = 60
"""Samples with pictures; the rest are listed in a table."""
SHOWN_METRICS = 8
"""Rows of a table of scores that are not folded away."""


def write_report(run_dir: Path) -> Path:
    """Write ``run_dir/report.html`` from the files of the run and return its path.

    Raises:
        DataError: ``report.json`` is missing or not JSON.
        OutputError: the folder cannot be written.
    """
    summary = _load(run_dir / "report.json")
    rows = _rows(run_dir / "predictions.jsonl")
    media = {m["id"]: m for m in map(_load, sorted((run_dir / "media").glob("*.json")))}
    target = run_dir / "report.html"
    write_atomic(target, render(summary, rows, media).encode())
    return target


def write_audit_report(folder: Path) -> Path:
    """Write ``folder/report.html`` for an audit: its table, then the plain run; returns its path.

    Raises:
        DataError: ``audit.json`` or the plain run's ``report.json`` is missing or not JSON.
        OutputError: the folder cannot be written.
    """
    found, plain = _load(folder / "audit.json"), folder / "plain"
    summary = _load(plain / "report.json")
    media = {m["id"]: m for m in map(_load, sorted((plain / "media").glob("*.json")))}
    remarks = [{"text": f"the run {mode}", "href": f"{mode}/report.html"} for mode in found["runs"]]
    title = f"{summary['benchmark']}: what is left of the score"
    whole = {**summary, "title": title, "remarks": [*(summary.get("remarks") or []), *remarks], "audit": found}
    target = folder / "report.html"
    write_atomic(target, render(whole, _rows(plain / "predictions.jsonl"), media).encode())
    return target


def render(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], media: Mapping[str, Any]) -> str:
    """The page as text; ``rows`` are lines of ``predictions.jsonl``, ``media`` maps sample ids to their pictures."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vidcausal.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    shown = [row for row in rows if row["id"] in media][:MAX_SAMPLES]
    cards = [_card(row, media[row["id"]]) for row in shown]
    ids = {card["id"] for card in cards}
    others = [_line(row) for row in rows if row["id"] not in ids]
    return environment.get_template("report.html.j2").render(
        summary=summary, scores=_score_tables(summary), cards=cards, others=others, config=_flat(summary.get("config"))
    )


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); give the folder of a run") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # torn when a run was killed; the runner answers that sample again
    return rows


def _flat(node: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(node, Mapping):
        return [pair for key, value in node.items() for pair in _flat(value, f"{prefix}{key}.")]
    return [] if node is None or prefix == "" else [(prefix.rstrip("."), str(node))]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _score_tables(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One table a policy: metric, value, interval; breakdowns (per class, per length) are rows that start folded."""
    tables = []
    intervals = dict(_flat_values(summary.get("intervals") or {}))
    for policy in ("official", "strict", "scored", "chance"):
        rows = []
        for name, value in _flat_values(summary.get(policy) or {}):
            interval = intervals.get(name) if policy == "strict" else None
            text = "" if not interval else f"{_number(interval[0])} to {_number(interval[1])}"
            rows.append({"name": name.replace("_", " "), "value": _number(value), "interval": text})
        if rows:
            tables.append({"policy": policy, "rows": rows[:SHOWN_METRICS], "more": rows[SHOWN_METRICS:]})
    return tables


def _flat_values(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            pairs += _flat_values(value, f"{prefix}{key} / ")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    error = row.get("error")
    return {
        "id": row["id"],
        "reply": str(row.get("reply") or "")[:200],
        "error": f"{error['code']}: {error['message']}" if error else "",
    }


def _card(row: Mapping[str, Any], media: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template needs for one sample."""
    sample = media.get("sample") or {}
    frames = media.get("frames") or []
    duration = float(media.get("duration") or 0.0)
    return {
        "id": row["id"],
        "task": sample.get("task") or "",
        "question": sample.get("question") or "",
        "goal": sample.get("goal") or "",
        "source": ", ".join(dict.fromkeys(Path(v).name for v in sample.get("videos") or [])),
        "frames": frames,
        "timeline": timeline_svg(_lanes(row, media, sample), duration),
        "order": _order(row, media, sample, frames),
        "options": _options(row, sample),
        "moments": _moments(row, sample),
        "records": row.get("records") or [],
        "truth": _true_events(sample),
        "reply": row.get("reply") or "",
        "steps": row.get("steps") or [],
        "notes": row.get("notes") or [],
        "decode": row.get("decode") or {},
        "seconds": row.get("seconds") or {},
        "error": row.get("error"),
    }


def _lanes(row: Mapping[str, Any], media: Mapping[str, Any], sample: Mapping[str, Any]) -> list[Lane]:
    clips = tuple(Box(c["start"], c["end"], f"Clip {c['number']}", "clip") for c in media.get("clips") or [])
    records = row.get("records") or []
    events = tuple(Box(r["start"], r["end"], r["caption"], "event") for r in records)
    speech = tuple(Box(r["start"], r["end"], r["speech"], "speech") for r in records if r.get("speech"))
    found = tuple(Box(s[0], s[1], f"#{i + 1}", "found") for i, s in enumerate(row.get("spans") or []))
    named = {tuple(span): caption for *span, caption in _true_events(sample)}
    spans = _true_spans(sample, "ground", "events")
    true = tuple(Box(s[0], s[1], named.get((s[0], s[1]), "true"), "true") for s in spans)
    return [
        Lane("clips", clips),
        Lane("recognized", events),
        Lane("speech", speech),
        Lane("found", found[:5]),
        Lane("true", true),
    ]


def _true_spans(sample: Mapping[str, Any], *tasks: str) -> list[Sequence[float]]:
    target = sample.get("target")
    if sample.get("task") not in tasks or not isinstance(target, list) or not target:
        return []
    return target if isinstance(target[0], list) else [target]


def _true_events(sample: Mapping[str, Any]) -> list[tuple[float, float, str]]:
    """What truly happened, where the benchmark says it in words."""
    captions = sample.get("captions") or []
    spans = _true_spans(sample, "events") if captions else []
    return [(start, end, caption) for (start, end), caption in zip(spans, captions, strict=False)]


def _order(
    row: Mapping[str, Any], media: Mapping[str, Any], sample: Mapping[str, Any], frames: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Predicted and true order as rows of clips with a picture each; positions that agree are marked."""
    if sample.get("task") != "order":
        return None
    captions: dict[int, str] = {}
    for record in row.get("records") or []:
        if record.get("clip") is not None:
            captions.setdefault(record["clip"], record["caption"])
    clips = {c["number"]: {**c, "caption": captions.get(c["number"], "")} for c in media.get("clips") or []}
    for clip in clips.values():
        inside = [f for f in frames if clip["start"] <= f["seconds"] < clip["end"]]
        clip["jpeg"] = inside[len(inside) // 2]["jpeg"] if inside else None
    true = sample.get("target") or []
    written = list(row.get("written_order") or [])
    rows = [("read from the reply", written), ("scored", list(row.get("order") or [])), ("true", list(true))]

    def tiles(numbers: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {**clips.get(n, {"number": n}), "right": bool(true) and i < len(true) and true[i] == n}
            for i, n in enumerate(numbers)
        ]

    return {"rows": [{"label": label, "tiles": tiles(numbers)} for label, numbers in rows if numbers]}


def _options(row: Mapping[str, Any], sample: Mapping[str, Any]) -> list[dict[str, Any]]:
    options, scores = sample.get("options") or [], row.get("option_scores") or []
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)
    out = []
    for i, text in enumerate(options):
        score = scores[i] if i < len(scores) else None
        share = 0.0 if score is None else (score - low) / ((high - low) or 1.0)
        out.append(
            {
                "letter": chr(ord("A") + i),
                "text": text,
                "score": "" if score is None else f"{score:.2f}",
                "width": round(8 + 92 * share),
                "chosen": row.get("option") == i,
                "true": sample.get("target") == i,
            }
        )
    return out


def _moments(row: Mapping[str, Any], sample: Mapping[str, Any]) -> list[dict[str, Any]]:
    if sample.get("task") != "ground":
        return []
    true = _true_spans(sample, "ground")
    moments = []
    for span in (row.get("spans") or [])[:5]:
        iou = max((span_iou(Span(*span[:2]), Span(*t)) for t in true), default=None)
        moments.append({"start": span[0], "end": span[1], "score": span[2] if len(span) > 2 else None, "iou": iou})
    return moments
