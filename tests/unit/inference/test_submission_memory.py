"""A submission of many images takes the memory of a few."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.inference.folders import export
from tests.unit.inference.submissions import write_data

_CODE = """
import shutil, sys
from pathlib import Path
from anomalyvfm_opt.inference.submission.images import find_private_images
from anomalyvfm_opt.inference.submission.making import Tools, begun_submission, make_submission
from anomalyvfm_opt.model.memory import read_status_mib

folder, data, root = map(Path, sys.argv[1:])
tools = Tools(weights=None, device="cpu", batch=4, false_positives=None)
images = find_private_images(data, {"can": 18})
for count in (4, 4, 36):
    with begun_submission(root) as part:
        make_submission(part, root, images[:count], {"can": folder}, tools, lambda line: None)
    print(read_status_mib("VmHWM"))
    shutil.rmtree(root)
    root.with_name(f"{root.name}.tar.gz").unlink()
"""


@pytest.mark.slow
def test_nine_times_the_images_take_no_more_memory(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "vit", None)
    data = write_data(tmp_path / "data", {"can": 18}, (600, 900))  # whose maps are 1 MiB each
    arguments = [str(made.folder), str(data), str(tmp_path / "mine")]
    done = subprocess.run([sys.executable, "-c", _CODE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, few, many = map(int, done.stdout.split())
    assert many - few < 25
