"""Many images take the memory of a batch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.inference.folders import export

_CODE = """
import sys
from anomalyvfm_opt import load_detector
from anomalyvfm_opt.inference.file_predictions import predict_files
from anomalyvfm_opt.inference.listing import Listed
from anomalyvfm_opt.model.memory import read_status_mib
from pathlib import Path

folder, path = map(Path, sys.argv[1:])
with load_detector(folder, device="cpu", batch=16) as detector:
    for count in (64, 64, 512):
        files = (Listed(path, Path(path.name)) for _ in range(count))
        assert sum(one.prediction is not None for one in predict_files(detector, files)) == count
        print(read_status_mib("VmHWM"))
"""


@pytest.mark.slow
def test_eight_times_the_images_take_no_more_memory(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "vit", None)
    image = tmp_path / "large.png"
    Image.fromarray(np.zeros((700, 900, 3), np.uint8)).save(image)  # 512 of them would be a gigabyte
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(made.folder), str(image)], capture_output=True, text=True, check=True
    )
    _, few, many = map(int, done.stdout.split())
    assert many - few < 30
