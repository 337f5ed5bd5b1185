"""The root schemas of a run: which keys exist and of which type. Unknown keys and wrong types fail against it.

The groups (``model``, ``strategy``, ``benchmark``, ``frames``, ``objective``) are ``_target_`` plus arguments; they are
checked against the signature of their target in :mod:`vidcausal.config.instantiate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Paths:
    """Where data is read and runs are written. ``configs/paths/default.yaml`` is the only file with a path."""

    data_dir: str | None = None
    runs_dir: str = "runs"


@dataclass
class EvaluateConfig:
    """Everything that decides an evaluation."""

    model: dict[str, Any] = field(default_factory=dict)
    strategy: dict[str, Any] = field(default_factory=dict)
    benchmark: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, Any] = field(default_factory=dict)
    paths: Paths = field(default_factory=Paths)
    name: str = "evaluate"
    """The job's name: the folder under ``paths.runs_dir``."""
    output_dir: str = ""
    """The run's folder. Name an existing one to resume it."""
    model_name: str | None = None
    """``hf:ORG/NAME``, ``hf:/folder`` or ``openai:http://host/v1#model``: takes the place of the group ``model``."""
    reasoner: str | None = None
    """Preset (or ``hf:``, ``openai:``) that reasons over the records; null leaves it to the strategy and the model."""
    device: str = "cpu"
    backend: str = "auto"
    size: int | None = None
    """Shorter side of the decoded frames in pixels; null decodes at :data:`vidcausal.api.DEFAULT_SIZE`."""
    dtype: str = "auto"
    seed: int = 0
    limit: int | None = None
    """First so many samples only."""
    tags: list[str] = field(default_factory=list)
    resume: bool = True
    """False refuses a folder that already holds predictions."""
    retry_errors: bool = False
    """True answers samples again whose row holds an error."""
    media_root: str | None = None
    """Videos outside this folder are refused."""
    transcribe: str | None = None
    """Speech weights (``whisper-tiny-en``) for videos without subtitles; null leaves speech out."""
    download: bool = False
    """True fetches weights that are not on this machine yet."""
    cache: bool = True
    """Keep features and records on disk between runs."""


@dataclass
class ShapeConfig:
    """How videos are shown: fields of :class:`vidcausal.training.stories.Shape`."""

    size: int = 64
    frames: int = 16
    clip_frames: list[int] = field(default_factory=lambda: [3, 6])
    """Fewest and most frames of a single clip."""
    shuffled_frames: int = 16


@dataclass
class RecipeConfig:
    """How to train: fields of :class:`vidcausal.training.loop.Recipe`."""

    steps: int = 3000
    muon_lr: float = 0.02
    """Of matrices between hidden states; 0 trains everything with AdamW."""
    adam_lr: float = 1.5e-3
    weight_decay: float = 0.01
    warmup: int = 60
    clip: float = 1.0
    average: float = 0.998
    precision: str = "auto"
    checkpoint_every: int = 100
    log_every: int = 20
    workers: int = 1


@dataclass
class TrainConfig:
    """Everything that decides a training."""

    model: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    paths: Paths = field(default_factory=Paths)
    name: str = "train"
    """The folder under ``paths.runs_dir``/train."""
    output_dir: str = ""
    """The training's folder. The same settings go on there."""
    worlds: list[str] = field(default_factory=lambda: ["collisions", "mechanisms", "procedures"])
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    freeze: list[str] = field(default_factory=list)
    """Parts that keep their weights: encoder, projector, language."""
    seed: int = 0
    device: str = "cpu"
    until: int | None = None
    """Stop after this step and export; the same command without it goes on."""
    vocabulary_stories: int = 3000
    """Stories of each world that the tokenizer's words are taken from."""
    max_megabytes: float | None = 40.0
    """Larger models are refused before anything is trained; null allows any size."""
    download: bool = False
    tags: list[str] = field(default_factory=list)


SCHEMAS: dict[str, type] = {"evaluate_schema": EvaluateConfig, "train_schema": TrainConfig}


def register() -> None:
    """Put the schemas where Hydra's defaults lists find them; calling it again changes nothing."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(name=name, node=schema)
