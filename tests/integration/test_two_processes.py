"""A trial is a function of spec, data, parameters and seed: in another process it gives the same scores."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anomalyvfm_opt.trial.result import TrialResult
from anomalyvfm_opt.worker.device import limit_threads
from tests.integration.program import Program, finish

THREADS = ("1", "2")


def describe(result: TrialResult) -> dict[str, Any]:
    """All numbers of a trial, each as written to the last digit."""
    return {
        "value": repr(result.value),
        "scores": {name: [repr(float(score)) for score in scores] for name, scores in result.scores.items()},
        "losses": result.attributes["epoch_losses"],
        "threads": result.attributes["threads"],
    }


def main(data: Path, cache: Path, threads: list[str]) -> None:
    """Run the same trial with these numbers of threads, one after the other, and print what came of it."""
    from anomalyvfm_opt.bench.backbones import load_backbone
    from anomalyvfm_opt.bench.workbench import Workbench
    from anomalyvfm_opt.data.arrays import ArrayStore
    from anomalyvfm_opt.data.layout import read_category
    from anomalyvfm_opt.data.split import divide
    from anomalyvfm_opt.spec.model import Spec
    from tests.integration.program import CATEGORY, make_tiny
    from tests.integration.test_cli_workbench import make_parameters, run

    spec = Spec.model_validate(make_tiny("workbench"))
    split = divide(read_category(data, CATEGORY), spec.data.lock)
    network = load_backbone(spec, torch.device("cpu"))
    found = {}
    for number in threads:
        limit_threads(int(number))
        bench = Workbench(spec, split, "two processes", network, ArrayStore(cache))
        found[number] = describe(run(bench, make_parameters(epochs=1), 7))
    print(json.dumps(found))


@pytest.fixture(scope="module")
def answers(program: Program, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes say; the second takes the numbers of threads the other way round."""
    cache = str(tmp_path_factory.mktemp("cache"))
    # threads that wait for each other by sleeping take no cores from other tests; the numbers are the same
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    ended = []
    for threads in (THREADS, THREADS[::-1]):
        arguments = ["-m", "tests.integration.test_two_processes", str(program.data), cache, *threads]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ended.append(finish(process))
    assert [done.returncode for done in ended] == [0, 0], [done.stderr for done in ended]
    return [json.loads(done.stdout) for done in ended]


@pytest.mark.parametrize("threads", THREADS)
def test_the_same_trial_in_two_processes_gives_identical_scores(
    answers: list[dict[str, Any]], threads: str
) -> None:
    one, other = (answer[threads] for answer in answers)
    assert one["threads"] == int(threads)
    assert one == other
    assert one["scores"].keys() == {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
