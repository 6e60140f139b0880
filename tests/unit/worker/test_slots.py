"""Where a host's workers go."""

import pytest

from anomalyvfm_opt.worker.slots import lay_out


def test_slots_on_a_cpu_share_the_cores() -> None:
    slots, arguments = lay_out(3, "cpu")
    assert [(slot.number, slot.place, dict(slot.environment)) for slot in slots] == [
        (1, "cpu", {}),
        (2, "cpu", {}),
        (3, "cpu", {}),
    ]
    assert arguments[:2] == ["--device", "cpu"]


def test_slots_take_turns_on_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: torch is asked for them in vain, so the test answers for it."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("anomalyvfm_opt.model.device._repeatable", lambda device: device)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-ab12")
    slots, arguments = lay_out(3, "auto")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["4", "GPU-ab12", "4"]
    assert arguments[:2] == ["--device", "cuda"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in lay_out(None, "cuda")[0]] == ["0", "1"]
