"""Files in the official forms, made in a temporary folder."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def write(tmp_path):
    """Write a value as JSON, or a list as JSON lines when the name ends in ``.jsonl``; text as it is."""

    def put(name, value):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, str):
            path.write_text(value, encoding="utf-8")
        elif name.endswith(".jsonl"):
            path.write_text("\n".join(map(json.dumps, value)) + "\n", encoding="utf-8")
        else:
            path.write_text(json.dumps(value), encoding="utf-8")
        return path

    return put
