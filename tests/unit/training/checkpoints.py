"""A trial's checkpoints to test with: three epochs of a small detector, and what they are compared by."""

from dataclasses import replace
from pathlib import Path

import torch

from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.training.checkpoint_folder import KeptCheckpoints
from anomalyvfm_opt.training.resume import Checkpoint, TrialInputs
from anomalyvfm_opt.training.state import TrainingState
from tests.unit.training.detectors import plan

_LAYERS = {"targets": "attention", "adapted_blocks": "all"}
SETTINGS = AdapterSettings(kind="adalora", rank=2, alpha=4.0, dropout=0.2, **_LAYERS)
SCHEDULE = plan(epochs=3, steps_per_epoch=2)
PARAMETERS = reference_parameters("v1.1", "can", 64)
assert PARAMETERS is not None
_HASHES = {"spec_sha256": "spec", "split_sha256": "split", "weights_sha256": "weights"}
INPUTS = TrialInputs(**_HASHES, parameters=PARAMETERS, seed=2**63 - 25, is_size_searched=False)
PARTS = ({"from_epoch": 0, "device": "cpu (x86_64)", "versions": {"torch": "2"}},)


def make(state: TrainingState) -> Checkpoint:
    values = {epoch: 0.1 * epoch + 1e-9 for epoch in range(1, state.epoch + 1)}
    return Checkpoint(state=state, values=values, seconds=1.25 * state.epoch, scoring_batch=32, parts=PARTS)


def assert_equal(one: Checkpoint | None, other: Checkpoint) -> None:
    assert one is not None
    assert one.state.tensors.keys() == other.state.tensors.keys()
    assert all(torch.equal(t, other.state.tensors[name]) for name, t in one.state.tensors.items())
    assert replace(one, state=replace(one.state, tensors={})) == replace(
        other, state=replace(other.state, tensors={})
    )


def list_files(trial: KeptCheckpoints) -> list[str]:
    return sorted(path.name.split("-")[0] for path in trial.folder.iterdir())


def record_of(trial: KeptCheckpoints) -> Path:
    return trial.folder / "checkpoint.json"


def tensors_of(trial: KeptCheckpoints) -> Path:
    return next(trial.folder.glob("*.safetensors"))
