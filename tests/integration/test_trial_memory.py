"""Too little memory: a trial takes fewer images at once, or ends as a constraint that the sampler learns from."""

import gc
from typing import Any
from unittest.mock import patch

import pytest
import torch
from optuna.trial import TrialState

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import TrialRun, run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.cli.tables import print_grid
from anomalyvfm_opt.errors import DoesNotFitError, EnvironmentMissingError
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import read_status_mib, release_cached_memory
from anomalyvfm_opt.report.proxy import judge_proxy
from anomalyvfm_opt.report.results_text import describe_study
from anomalyvfm_opt.report.summary import summarise, to_json
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.studies import NewStudy, create_study, load_study
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import REFERENCES, Bench, make_new_study, make_spec, run_quickly
from tests.integration.program import Program, make_tiny
from tests.integration.test_cli_workbench import Silence, are_equal, make_bench, make_parameters, run
from tests.integration.trial_states import run_to_end

TOO_LARGE = "all"  # of adapted_blocks
STARTUP, TRIALS = 6, 24


def run_toy(request: TrialRequest, progress: Progress, fits: bool = True) -> TrialResult:
    """A trial without training: the learning rate decides, and adapting all blocks is best, where it fits."""
    if request.parameters is None:
        return run_quickly(request, progress)
    is_large = request.parameters.adapted_blocks == TOO_LARGE
    if is_large and not fits:
        raise DoesNotFitError("one image at a time does not fit: CUDA out of memory")
    value = 0.8 + 0.1 * is_large - 10 * abs(request.parameters.learning_rate - 3e-4)
    return TrialResult(
        value=value,
        metrics={},
        image_keys=(),
        labels=run_quickly(request, progress).labels,
        scores={},
        attributes={"peak_memory_mib": 512},
    )


def run_without_room(request: TrialRequest, progress: Progress) -> TrialResult:
    return run_toy(request, progress, fits=False)


def add_study(bench: Bench, name: str) -> Bench:
    spec = make_spec(trials=TRIALS, startup_trials=STARTUP).model_copy(update={"name": name})
    new: NewStudy = make_new_study(spec)
    create_study(bench.store, new, REFERENCES)
    return Bench(bench.store, load_study(bench.engine, f"{name}/tile"))


def count_large(bench: Bench) -> int:
    """How many trials after the random start adapt all blocks."""
    return sum(t.params["adapted_blocks"] == TOO_LARGE for t in bench.study().get_trials()[1 + STARTUP :])


def test_a_set_that_does_not_fit_is_pruned_and_the_study_goes_on(bench: Bench, capsys: Any) -> None:
    ended: list[Ended] = []

    def run_first_without_room(request: TrialRequest, progress: Progress) -> TrialResult:
        if request.number == 1:
            raise DoesNotFitError("one image at a time does not fit: CUDA out of memory")
        return run_toy(request, progress)

    run_to_end(bench.loop(run_first_without_room, ended=ended))
    trials = bench.study().get_trials()
    assert [e.outcome for e in ended].count(Outcome.OUT_OF_MEMORY) == 1
    assert [t.state for t in trials].count(TrialState.COMPLETE) == 5
    assert (trials[1].state, trials[1].constraints) == (TrialState.PRUNED, {"out_of_memory": 1.0})
    usage = count_usage(bench.engine, bench.record.study_id)
    assert (usage.used, usage.complete, usage.pruned) == (6, 5, 1)

    summary = summarise(bench.store, bench.record)
    shown = to_json(summary)
    assert shown["best"]["peak_memory_mib"] == (512 if summary.best and summary.best.parameters else None)
    [failure] = shown["failures"]
    assert (failure["number"], failure["outcome"]) == (1, "out_of_memory")
    assert failure["params"]["rank"] == trials[1].params["rank"]
    assert failure["params"]["alpha"] == trials[1].params["alpha_ratio"] * trials[1].params["rank"]
    print_grid(describe_study(summary, judge_proxy(bench.store, bench.record)))
    line = " ".join(capsys.readouterr().out.split())
    p = trials[1].params
    assert f"{p['adapter']}, rank {p['rank']}, {p['targets']}, adapted blocks {p['adapted_blocks']}: one" in line


def test_the_sampler_learns_what_does_not_fit(bench: Bench) -> None:
    """Without the constraint the same choice is the best one, and TPE goes for it."""
    roomy, narrow = add_study(bench, "roomy"), add_study(bench, "narrow")
    run_to_end(roomy.loop(run_toy))
    run_to_end(narrow.loop(run_without_room))
    assert len(narrow.study().get_trials()) == len(roomy.study().get_trials()) == TRIALS
    after = TRIALS - 1 - STARTUP
    assert count_large(roomy) > after / 3
    assert count_large(narrow) < after / 4
    large = [t for t in narrow.study().get_trials() if t.params.get("adapted_blocks") == TOO_LARGE]
    assert all(t.state is TrialState.PRUNED for t in large)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(Spec.model_validate(make_tiny("workbench")), torch.device("cpu"))


@pytest.fixture(scope="module")
def workbench(program: Program, backbone: Backbone) -> Workbench:
    return make_bench(program, backbone)


def limit(most: int) -> Any:
    """A device on which a detector fits for at most so many images at once."""
    forward = Detector.forward

    def look(detector: Detector, images: torch.Tensor, with_heads: bool = True) -> Any:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(detector, images, with_heads)

    return patch.object(Detector, "forward", look)


def test_a_trial_says_how_much_it_took(workbench: Workbench) -> None:
    trained, frozen = (run(workbench, p, 7).attributes for p in (make_parameters(epochs=1), None))
    assert (trained["micro_batch"], trained["scoring_batch"]) == (4, 32)
    assert (frozen["micro_batch"], frozen["scoring_batch"]) == (None, 32)
    assert 50 < trained["peak_memory_mib"] < 20_000


def test_a_whole_trial_gives_the_same_scores_with_less_memory(workbench: Workbench) -> None:
    whole = run(workbench, make_parameters(), 7)
    with limit(3):
        small = run(workbench, make_parameters(), 7)
    assert (small.attributes["micro_batch"], small.attributes["scoring_batch"]) == (2, 2)
    assert small.attributes["epoch_losses"] == pytest.approx(whole.attributes["epoch_losses"], abs=2e-5)
    for name, scores in whole.scores.items():
        # rounding of float32, in units of each scorer's spread: a z-score near 0 has no relative error
        assert small.scores[name] == pytest.approx(scores, rel=1e-4, abs=1e-4 * float(scores.std())), name
    assert are_equal(whole, run(workbench, make_parameters(), 7))  # the next trial begins with whole batches


def test_a_trial_of_which_no_image_fits_says_so(workbench: Workbench) -> None:
    for parameters in (make_parameters(), None):
        with (
            limit(0),
            pytest.raises(DoesNotFitError, match="one image at a time does not fit: CUDA out of memory"),
        ):
            run(workbench, parameters, 7)


def test_memory_that_is_used_up_elsewhere_in_a_trial_is_no_bug(workbench: Workbench) -> None:
    with patch.object(TrialRun, "_score", side_effect=MemoryError), pytest.raises(DoesNotFitError):
        run(workbench, None, 7)


def count_alive() -> int:
    """Tensors and modules that something still refers to."""
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor | torch.nn.Module) for thing in gc.get_objects())


@pytest.mark.slow
def test_ten_trials_of_different_parameters_leave_nothing_behind(workbench: Workbench) -> None:
    """Neither wrappers of peft nor graphs of autograd, nor ever more memory of the process."""
    alive, sizes = [], []
    for number in range(10):
        changes = {"adapter": ("lora", "dora", "rslora", "adalora")[number % 4], "rank": (2, 16)[number % 3 % 2]}
        parameters = make_parameters(epochs=1, adapted_blocks=(2, "all")[number // 2 % 2], **changes)
        run_trial(
            workbench, TrialRequest(number=number, parameters=parameters, seed=number, is_watched=False), Silence()
        )
        alive.append(count_alive())
        release_cached_memory(torch.device("cpu"))
        sizes.append(read_status_mib("VmRSS"))
    assert alive[-1] == alive[2], alive
    assert sizes[-1] < sizes[2] + 25, sizes


def test_a_backbone_that_does_not_fit_costs_no_trial() -> None:
    spec = Spec.model_validate(make_tiny("workbench"))
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    with (
        patch.object(Backbone, "features", side_effect=error),
        pytest.raises(EnvironmentMissingError, match="does not fit into the memory of cpu: CUDA out of memory"),
    ):
        load_backbone(spec, torch.device("cpu"))
