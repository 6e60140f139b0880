"""What a detector said before it was written, it says when it is read: every adapter, every scorer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from anomalyvfm_opt import load_detector
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.inference.selftest import check_detector, measure_difference
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.spec.space import NO_ADAPTER
from tests.unit.inference.folders import FAMILIES, export
from tests.unit.training.detectors import KINDS

SCORERS = {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}
CASES = [(family, kind) for family in FAMILIES for kind in (None, *KINDS)]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_folder_gives_the_scores_of_the_detector_that_it_was_made_of(
    tmp_path: Path, family: str, kind: str | None
) -> None:
    made = export(tmp_path / "detector", family, kind)
    wanted = SCORERS if kind else SCORERS - {"predictor", "decoder"}
    assert made.scores.image.keys() == wanted
    with load_detector(made.folder, device="cpu", batch=3) as detector:
        for scorer in wanted:
            alone = detector.score_frames(made.frames, {scorer}).image[scorer]
            assert measure_difference(made.scores.image[scorer], alone).max() < 1e-5, scorer
        found = detector.predict(list(made.pixels))
        scores = np.array([one.score for one in found])
        assert measure_difference(made.scores.image["patch_knn"], scores).max() < 1e-5
        for index, one in enumerate(found):
            np.testing.assert_allclose(one.map, made.scores.maps["patch_knn"][index], rtol=1e-4, atol=1e-5)
        agreement = check_detector(detector)
    assert agreement.is_close
    assert agreement.images == 4


@pytest.mark.parametrize(("scorer", "runs"), [("patch_knn", 0), ("decoder", 1), ("ensemble", 1)])
def test_heads_run_where_a_score_reads_them(tmp_path: Path, scorer: str, runs: int) -> None:
    made = export(tmp_path / "detector", "vit", "lora", scorer)
    seen = []
    with load_detector(made.folder, device="cpu") as detector:
        decoder = detector._detector.decoder
        assert decoder is not None
        decoder.register_forward_hook(lambda *_: seen.append(1))
        (said,) = detector.predict(made.pixels[0])
    assert len(seen) == runs
    assert measure_difference(made.scores.image[scorer][:1], np.array([said.score])).max() < 1e-5


@pytest.mark.parametrize(("family", "kind"), [case for case in CASES if case[1] not in (None, NO_ADAPTER)])
def test_peft_loads_the_adapter_into_the_timm_network(tmp_path: Path, family: str, kind: str) -> None:
    made = export(tmp_path / "detector", family, kind)
    images = torch.from_numpy(made.pixels)
    with load_detector(made.folder, device="cpu") as detector:
        own = detector._detector(images).patches
    backbone = Backbone(*FAMILIES[family])
    frozen = backbone.features(backbone.normalise(images)).patches
    PeftModel.from_pretrained(backbone.network, made.folder / "adapter")
    backbone.network.eval()
    with torch.no_grad():
        loaded = backbone.features(backbone.normalise(images)).patches
    assert not torch.allclose(frozen, own, atol=1e-4)
    torch.testing.assert_close(loaded, own, rtol=1e-5, atol=1e-5)


def test_heads_without_an_adapter_stand_alone(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "vit", NO_ADAPTER)
    assert not (made.folder / "adapter").exists()
    guide = (made.folder / "README.md").read_text()
    assert "with trained heads and no adapter" in guide
    assert "`adapter/`" not in guide.partition("heads.safetensors")[0]
    assert (made.folder / "heads.safetensors").exists()


def test_the_weights_may_lie_in_the_folder(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "vit", "lora", with_backbone=True)
    with load_detector(made.folder, device="cpu") as detector:
        assert check_detector(detector).is_close
        assert detector._detector.backbone.weights == str(made.folder / "backbone.safetensors")


def test_in_batches_of_a_trial_other_images_beside_it_change_no_bit_of_a_frozen_network(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "cnn", None)
    with load_detector(made.folder, device="cpu", batch=8) as detector:
        alone = [detector.predict(one)[0].score for one in made.pixels]
        together = [one.score for one in detector.predict(list(made.pixels))]
    assert alone == together


def test_a_closed_detector_gives_no_scores(tmp_path: Path) -> None:
    """Its adapter is no longer in the network: the scores would be others."""
    made = export(tmp_path / "detector", "vit", "lora")
    detector = load_detector(made.folder, device="cpu")
    detector.close()
    detector.close()
    with pytest.raises(UsageError, match="closed"):
        detector.predict(list(made.pixels))
    with pytest.raises(UsageError, match="closed"), detector.traced():
        pass


def test_a_detector_that_nobody_closes_ends_with_its_program_in_silence(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "vit", "lora")
    program = "import sys, anomalyvfm_opt as a\nd = a.load_detector(sys.argv[1], device='cpu')\ndef keep(): d"
    done = subprocess.run(
        [sys.executable, "-c", program, made.folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
