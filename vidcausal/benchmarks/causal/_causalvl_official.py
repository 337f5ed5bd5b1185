"""The counting of CausalVLBench's evals/eval.py, bug for bug, over rows with a question's fields and ``prediction``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Row: TypeAlias = Mapping[str, Any]

GRAPHS = {
    "pendulum": ((0, 0, 1, 1), (0, 0, 1, 1), (0, 0, 0, 0), (0, 0, 0, 0)),
    "flow": ((0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0)),
    "circuit": ((0, 1, 1, 1), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0)),
}
"""True causal graph of each scene: row causes column, in the order of :data:`VARIABLES`."""
VARIABLES = {
    "pendulum": ("pendulum angle", "light position", "shadow length", "shadow position"),
    "flow": ("ball size", "hole position", "water level", "water flow"),
    "circuit": ("robot arm position", "green light", "blue light", "red light"),
}
CAUSES = {
    "pendulum": ("pendulum angle", "light position", "shadow length", "shadow position"),
    "flow": ("ball size", "hole position", "water level"),
    "circuit": ("robot arm", "green light", "red light", "blue light"),
}
"""Variables that an intervention may change first."""
QUESTIONS_A_GRAPH = 12

_CHANGED: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "pendulum": (
        (("pendulum angle", "angle_cf"), ("light position", "light_cf")),
        (("shadow length", "shadow_len_cf"), ("shadow position", "shadow_pos_cf")),
    ),
    "flow": ((("ball", "ball_cf"), ("hole", "hole_cf")), (("level", "water_level_cf"), ("flow", "water_flow_cf"))),
    "circuit": (
        (
            ("red", "red light cf"),
            ("green", "green light cf"),
            ("blue", "blue light cf"),
            ("robot", "robot arm cf"),
            ("arm", "robot arm cf"),
        ),
    ),
}
"""Chains of "if this is in the name, else if that is", with the field that is compared."""


class Stops(Exception):
    """The published scorer ends with an error here."""


def interventions(rows: Sequence[Row], scene: str, shots: int) -> float:
    """``exact_match_interv``: the answer is somewhere in the first line or sentence."""
    hits = 0
    for row in rows:
        said, answer = _first_part(prediction_of(row)), str(row["answer"]).lower()
        if shots == 0 and scene == "circuit" and "arm position" in said.lower():
            said = "robot arm"
        if shots > 0:
            said = said.split(".")[0]
        if answer in said.lower():
            if answer not in CAUSES[scene]:
                raise Stops(f"KeyError {answer!r} (not a variable of {scene} that can change first)")
            hits += 1
    return hits / len(rows)


def _first_part(text: str) -> str:
    text = text.strip().strip("\n")
    end = text.find("\n")
    if end <= 0:
        end = text.find(".")
    return text[:end] if end > 0 else text


def counterfactuals(rows: Sequence[Row], scene: str) -> float:
    """``exact_match_cf``: lines "name: value", a quarter for each value that is right; more than one line may count."""
    total = 0.0
    for row in rows:
        lines = prediction_of(row).strip().replace("*", "").lower().split("\n")
        said = {parts[0].strip(): parts[1].strip() for line in lines if len(parts := line.split(":")) > 1}
        hits = 0
        for name, value in said.items():
            for chain in _CHANGED[scene]:
                field = next((field for words, field in chain if words in name), None)
                if field is not None:
                    if field not in row:
                        raise Stops(f"KeyError {field!r}")
                    hits += row[field] == value
        total += hits / 4.0
    return total / len(rows)


def discoveries(rows: Sequence[Row], scene: str) -> tuple[float, float]:
    """``exact_match_discovery``: mean structural Hamming distance and mean accuracy over pictures with 12 answers."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["id"], []).append(row)
    distances, accuracies = [], []
    for identity, own in groups.items():
        if len(own) < QUESTIONS_A_GRAPH:
            continue
        if len(own) > QUESTIONS_A_GRAPH:
            raise Stops(f"ValueError, {len(own)} answers about {identity!r} do not make a 4 x 4 graph")
        said = [prediction_of(row).strip().lower() == "yes" for row in own]
        truth = [str(row["answer"]).lower().strip() == "yes" for row in own]
        accuracies.append(sum(a == b for a, b in zip(said, truth, strict=True)) / len(own))
        distances.append(hamming(said, scene))
    if not accuracies:
        raise Stops("ZeroDivisionError, no picture has 12 answers")
    return sum(distances) / len(distances), sum(accuracies) / len(accuracies)


def hamming(answers: Sequence[bool], scene: str) -> float:
    """Structural Hamming distance of twelve answers (cause by cause) from the scene's graph; a turned edge counts 1."""
    said = [int(answer) for answer in answers]
    for diagonal in (0, 5, 10, 15):
        said.insert(diagonal, 0)
    wrong = np.abs(np.array(GRAPHS[scene]) - np.array(said).reshape(4, 4))
    return float(np.minimum(wrong + wrong.T, 1).sum() / 2)


def prediction_of(row: Row) -> str:
    """The text of a prediction, which may be the first of a list."""
    if "prediction" not in row:
        raise Stops("KeyError 'prediction'")
    said = row["prediction"]
    if isinstance(said, str):
        return said
    if isinstance(said, (list, tuple)) and said and isinstance(said[0], str):
        return said[0]
    raise Stops(f"a prediction is neither a text nor a list of texts: {said!r}")
