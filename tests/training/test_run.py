from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vidcausal.config import schema
from vidcausal.errors import ConfigError, DataError, OutputError, RunFolderError, UnknownNameError
from vidcausal.models.native import native
from vidcausal.training.loop import CHECKPOINT, METRICS, Recipe, Run, read_metrics
from vidcausal.training.run import SETTINGS, Objective, Setup, train
from vidcausal.training.stories import Shape
from vidcausal.video.frames import FrameBatch

Config = Callable[..., dict[str, Any]]
REPOSITORY = Path(__file__).resolve().parents[2]
KILLED = """
import os, signal, sys
from vidcausal.config.compose import compose
from vidcausal.training.loop import Run
from vidcausal.training.run import train
update = Run._update
def dying(self, batches):
    parts = update(self, batches)
    if self.step == 4:  # within the fifth step; the last checkpoint is that of the fourth
        os.kill(os.getpid(), signal.SIGKILL)
    return parts
Run._update = dying
train(compose("train", sys.argv[1:]))
"""


def losses(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder / METRICS)]


def weights(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))}


def test_a_killed_training_goes_on_to_the_same_losses_and_the_same_weights(tiny: Config, tmp_path: Path) -> None:
    overrides = ["experiment=native_tiny", f"output_dir={tmp_path / 'killed'}"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", KILLED, *overrides], env=environment, timeout=250)
    assert done.returncode == -signal.SIGKILL
    assert torch.load(tmp_path / "killed" / CHECKPOINT, weights_only=True)["step"] == 4
    with (tmp_path / "killed" / METRICS).open("a") as file:
        file.write('{"step": 5, "lo')  # what a kill may leave
    again = train(tiny(name="killed"))
    whole = train(tiny(name="whole"))
    assert again is not None
    assert whole is not None
    assert (again.step, whole.step) == (8, 8)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert [row["step"] for row in losses(tmp_path / "whole")] == list(range(1, 9))
    assert weights(again.model) == weights(whole.model)
    assert len(weights(whole.model)) == 3


def test_ctrl_c_ends_the_step_and_writes_a_checkpoint(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: None
) -> None:
    update = Run._update

    def interrupted(self: Run, batches: Any) -> dict[str, float]:
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return update(self, batches)

    monkeypatch.setattr(Run, "_update", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3; the same command goes on"):
        train(tiny("recipe.checkpoint_every=100", "recipe.steps=5"))
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"] == 3
    assert not (tmp_path / "run" / "model").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    train(tiny("recipe.checkpoint_every=100", "recipe.steps=5"))
    assert [row["step"] for row in losses(tmp_path / "run")] == [1, 2, 3, 4, 5]


def test_sigterm_to_all_processes_as_torchrun_sends_it_writes_a_checkpoint(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: None
) -> None:
    update = Run._update

    def interrupted(self: Run, batches: Any) -> dict[str, float]:
        if self.step == 2:
            for process in multiprocessing.active_children():
                assert process.pid is not None
                os.kill(process.pid, signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return update(self, batches)

    monkeypatch.setattr(Run, "_update", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3"):
        train(tiny("recipe.checkpoint_every=100", "recipe.steps=40", "recipe.workers=1"))
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"] == 3


def test_what_is_exported_loads_answers_and_says_how_it_was_made(tiny: Config, tmp_path: Path) -> None:
    done = train(tiny("recipe.steps=4", "until=2"), ["until=2"], facts={"machine": "here"})
    assert done is not None
    assert done.text.startswith("step 2 of 4, loss ")
    facts = json.loads((done.model / "training.json").read_text())
    assert (facts["step"], facts["seed"], facts["worlds"], facts["machine"]) == (2, 0, ["collisions"], "here")
    assert facts["recipe"]["steps"] == 4
    assert facts["losses"]["loss"] == done.losses["loss"]
    assert facts["bytes"] < 1_000_000
    saved = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["average"]["values"]
    model = native(str(done.model))
    own = dict(model.core.projector.named_parameters())
    assert {value.dtype for value in model.core.state_dict().values()} == {torch.float32}
    for name, value in own.items():
        assert torch.equal(value, saved[f"projector.{name}"].bfloat16().float())
    frames = FrameBatch(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.tensor([0.5, 1.5, 2.5]))
    scores = model.score_options("what happened first?", ["the red ball", "the blue box"], frames)
    assert all(score.log_likelihood < 0 for score in scores)
    assert model.core.random_parts == ()
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    assert (tmp_path / "run" / ".hydra" / "config.yaml").is_file()


def test_another_setting_is_refused_and_named(tiny: Config, tmp_path: Path) -> None:
    train(tiny("recipe.steps=1"))
    with pytest.raises(RunFolderError, match=r"seed is 1, was 0; recipe.steps is 8, was 1. Choose another name"):
        train(tiny("seed=1"))
    train(tiny("recipe.steps=1", "recipe.log_every=5"))  # what changes no weight may change


def test_a_folder_with_something_else_is_left_alone(tiny: Config, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "predictions.jsonl").write_text("{}")
    with pytest.raises(RunFolderError, match=r"holds something else \(predictions.jsonl\)"):
        train(tiny())
    assert not (tmp_path / "run" / SETTINGS).exists()


def test_two_processes_cannot_train_in_one_folder(tiny: Config, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunFolderError, match="another process trains"):
            train(tiny())


def test_a_full_disk_leaves_the_checkpoint_before(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = torch.save

    def full(state: dict[str, Any], path: Path) -> None:
        original(state, path)
        if state["step"] == 4:
            raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="make room there and start again"):
        train(tiny())
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"] == 2
    assert not list((tmp_path / "run").glob("*.new"))


def test_a_damaged_checkpoint_is_an_error(tiny: Config, tmp_path: Path) -> None:
    train(tiny("recipe.steps=1"))
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no checkpoint"):
        train(tiny("recipe.steps=1"))


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("worlds=[colisions]", UnknownNameError, "Did you mean 'collisions'"),
        ("worlds=[]", ConfigError, "at least one"),
        ("recipe.precision=float23", UnknownNameError, "Did you mean 'float32'"),
        ("recipe.steps=0", ConfigError, "recipe.steps must be at least 1, got 0"),
        ("recipe.average=1", ConfigError, "below 1"),
        ("until=0", ConfigError, "until must be more than 0"),
        ("freeze=[vision]", UnknownNameError, "encoder, language, projector"),
        ("shape.clip_frames=[4,2]", ConfigError, "fewest and the most"),
        ("shape.size=30", ConfigError, "multiple of 8"),
        ("objective.stages.alignment.rows.movies=1", UnknownNameError, "kind of rows in objective.stages.alignment"),
        ("objective.stages.instructions.start=0", ConfigError, "stages must start at 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    tiny: Config, override: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        Setup.of(tiny(override))
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_or_is_too_large_is_refused(tiny: Config) -> None:
    with pytest.raises(ConfigError, match=r"more than max_megabytes=0.01; make it smaller"):
        train(tiny("max_megabytes=0.01"))
    config = tiny(name="other")
    config["model"] = {"_target_": "vidcausal.models.scripted.random_model"}
    with pytest.raises(ConfigError):
        train(config)


def test_an_objective_needs_rows() -> None:
    with pytest.raises(ConfigError, match="has no rows"):
        Objective({"alignment": {"start": 0, "rows": {"video": 0}}})
    with pytest.raises(ConfigError, match="has start and rows, got row"):
        Objective({"alignment": {"start": 0, "row": {"video": 0}}})


def test_schema_and_dataclasses_have_the_same_fields_and_defaults() -> None:
    import dataclasses

    recipe, given = (dataclasses.asdict(made) for made in (Recipe(steps=1), schema.RecipeConfig(steps=1)))
    assert recipe.keys() == given.keys()
    shape = {field.name for field in dataclasses.fields(Shape)}
    assert {field.name for field in dataclasses.fields(schema.ShapeConfig)} <= shape
