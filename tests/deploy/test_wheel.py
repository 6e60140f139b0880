"""The built wheel, installed outside of the checkout: `demo --quick` runs to its verdict."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel in it; what it depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    quiet = ("--quiet", "--no-deps", "--no-index")
    build = (*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(folder / "env")), check=True, timeout=300)
    python = folder / "env" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run((python, "-c", code), check=True, capture_output=True, text=True).stdout.strip()
    # a path in a .pth file brings what lies there, but not the .pth file that points into this checkout
    Path(own, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run((*pip, "--python", str(python), "install", *quiet, str(wheel)), check=True, timeout=300)
    return python.parent


def test_the_wheel_runs_the_demo(installed: Path, open_folder: Path) -> None:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANOMALYVFM_OPT_", "PYTHON"))
    }
    environment = {**kept, "ANOMALYVFM_OPT_HOME": str(open_folder / "home")}

    def call(*command: str) -> str:
        done = subprocess.run(
            command, cwd=open_folder, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = call(str(installed / "python"), "-c", "import anomalyvfm_opt; print(anomalyvfm_opt.__file__)")
    assert where.startswith(str(installed.parent))
    try:
        shown = call(str(installed / "anomalyvfm-opt"), "demo", "--quick")
    finally:
        EmbeddedCluster(open_folder / "home").down()
    assert "Image AUROC on search data" in shown
    assert any(verdict in shown for verdict in ("ADOPT", "KEEP THE BASELINE", "INCONCLUSIVE"))
    assert "gravel" not in shown
