"""A search over image sizes, through real workers: one bench a size, the same images, the weights of the study."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from safetensors.torch import save_file
from sqlalchemy import text

from anomalyvfm_opt.bench.backbones import Backbones
from anomalyvfm_opt.bench.benches import Benches
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.cli.tables import print_grid
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.errors import DoesNotFitError, EnvironmentMissingError, UsageError
from anomalyvfm_opt.plan.reckoning import plan_studies
from anomalyvfm_opt.report.proxy import judge_proxy
from anomalyvfm_opt.report.results_text import describe_study
from anomalyvfm_opt.report.summary import summarise, tabulate
from anomalyvfm_opt.spec.model import Spec, hash_content
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.scores import read_scores
from anomalyvfm_opt.trial.result import TrialRequest, TrialResult
from anomalyvfm_opt.worker.images import find_images
from tests.integration.program import CATEGORY, Program, make_tiny

SPACE = make_tiny("any")["search"]["space"]
SIZES = [32, 64]
VIT = {"name": "test_vit.r160_in1k", "decoder_blocks": [-1], "patch_blocks": [-1]}
CPU = torch.device("cpu")


def make_search(**changes: Any) -> dict[str, Any]:
    space = {**SPACE, "image_size_px": SIZES}
    shared = {"scoring": {"every_epochs": 10}, "references": ["frozen", "v1.1"]}
    return {"search": {"trials": 4, "space": space}, **shared, **changes}


class Silence:
    def check(self) -> None:
        pass

    def begin_step(self) -> None:
        pass

    def resume(self, epoch: int) -> None:
        pass

    def finish_epoch(self, epoch: int, loss: float) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        pass


@pytest.fixture(scope="module")
def sized(program: Program) -> str:
    """A finished study with two sizes; one of its trials has the smaller one for certain."""
    name = program.create_here("sized", **make_search())
    optuna.load_study(study_name=name, storage=program.store.storage).enqueue_trial({"image_size_px": 32})
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr
    return name


def test_trials_have_both_sizes_and_the_same_images(program: Program, sized: str) -> None:
    trials = [trial for trial in program.trials(sized) if "parameters" in trial.user_attrs]
    sizes = {trial.number: trial.user_attrs["parameters"]["image_size_px"] for trial in trials}
    assert set(sizes.values()) == set(SIZES)
    assert all(trial.params["image_size_px"] == sizes[trial.number] for trial in trials if trial.params)
    references = {trial.user_attrs.get("reference"): sizes[trial.number] for trial in trials}
    assert references["v1.1"] == 64
    keys = {frozenset(read_scores(program.store.engine, trial._trial_id, "decoder")) for trial in trials}
    assert len(keys) == 1
    assert all(trial.user_attrs["objectives"]["synthetic"] is not None for trial in trials)


def test_what_is_shown_names_the_best_size(program: Program, sized: str, capsys: Any) -> None:
    record, store = program.record(sized), program.store
    summary = summarise(store, record)
    print_grid(describe_study(summary, judge_proxy(store, record)))
    shown = capsys.readouterr().out
    assert summary.best is not None
    parameters = summary.best.parameters
    size = 64 if parameters is None else parameters.image_size_px
    assert f"trial {summary.best.number}, {summary.best.value:.4f} at {size} px" in shown
    assert "32 or 64 px" in shown
    if parameters is not None:
        assert tabulate([summary])[0].setting.endswith(f" / {size} px")


def test_a_trial_at_a_size_is_that_of_a_study_of_this_size(program: Program, sized: str) -> None:
    """But for the synthetic exam, which is drawn at the largest size."""
    record = program.record(sized)
    searched, alone = open_benches(program, sized), open_benches(program, sized, record.spec.at_size(32))
    parameters = reference_parameters("v1.1", CATEGORY, 32)
    assert parameters is not None
    short = replace(parameters, epochs=1)
    one, other = run(searched, short), run(alone, short)
    assert one.value == other.value
    assert one.metrics == other.metrics
    assert one.image_keys == other.image_keys
    assert one.value != run(searched, replace(short, image_size_px=64)).value


def test_a_cnn_is_in_memory_once(program: Program, sized: str) -> None:
    record, backbones = program.record(sized), Backbones(CPU, None)
    own, other = (backbones.open_for(record, record.spec.at_size(size)) for size in (64, 32))
    assert own.network is other.network
    assert (own.image_size_px, other.image_size_px) == (64, 32)


def test_a_vision_transformer_of_another_size_has_the_weights_of_the_study(
    program: Program, tmp_path: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    random = Backbones(CPU, None).open(make_vit("random"))
    tensors = {key: t.contiguous() for key, t in random.network.state_dict().items()}
    save_file(tensors, weights)
    name = program.create_here("sized_vit", **make_search(backbone={**VIT, "weights": str(weights)}))
    record, backbones = program.record(name), Backbones(CPU, None)
    own, other = (backbones.open_for(record, record.spec.at_size(size)) for size in (64, 32))
    assert own.weights_sha256 == record.weights_sha256 != other.weights_sha256
    changed = Backbones(CPU, None)
    changed.open(record.spec)
    save_file({key: t + 1 for key, t in tensors.items()}, weights)
    with pytest.raises(UsageError, match="at 32 px are not those at 64 px"):
        changed.open_for(record, record.spec.at_size(32))
    with pytest.raises(UsageError, match="are not those of sized_vit"):
        Backbones(CPU, None).open_for(record, record.spec)


def test_a_size_that_does_not_fit_is_the_trials_fault(program: Program, sized: str) -> None:
    """A GPU that is too small cannot be had here: the error that torch raises then is put in its place."""
    spec, full = program.record(sized).spec, torch.OutOfMemoryError("CUDA out of memory")
    parameters = reference_parameters("v1.1", CATEGORY, 32)
    for error in (full, explain(full)):

        def build(wanted: Spec, error: Exception = error) -> Any:
            if wanted != spec:
                raise error
            return None

        with pytest.raises(DoesNotFitError, match="images of 32 px: CUDA out of memory"):
            Benches(spec, build, CPU).run(TrialRequest(number=0, parameters=parameters, seed=1), Silence())


def test_a_plan_counts_every_size(program: Program, sized: str, tmp_path: Path) -> None:
    spec = Spec.model_validate(make_tiny("planned_sizes", **make_search()))
    both, small, large = (
        plan_studies(wanted, program.data, [CATEGORY], CPU, ArrayStore(tmp_path), {})
        for wanted in (spec, *(Spec.model_validate(make_tiny("one", **at(size))) for size in SIZES))
    )
    assert both.cache_bytes == small.cache_bytes + large.cache_bytes
    assert set(both.probe.costs.sizes) == set(SIZES)
    assert all(factors.step > 0 and factors.scoring > 0 for factors in both.probe.costs.sizes.values())
    assert both.studies[0].start_seconds > 0


def test_a_study_from_before_sizes_were_searched_is_read_and_served(program: Program) -> None:
    content: dict[str, Any] = {"references": ["frozen"], "search": {"trials": 2}}
    name = program.create_here("unsized", **content)
    with program.store.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE anomalyvfm_opt.study SET spec = spec #- '{search,space,image_size_px}' WHERE study_id = %s",
            (program.record(name).study_id,),
        )
        stored = connection.scalar(text("SELECT spec FROM anomalyvfm_opt.study WHERE spec->>'name' = 'unsized'"))
        connection.execute(
            text("UPDATE anomalyvfm_opt.study SET spec_sha256 = :sha256 WHERE spec->>'name' = 'unsized'"),
            {"sha256": hash_content(stored)},
        )
    assert program.record(name).spec.search.space.image_size_px == ()
    assert program.create_here("unsized", **content) == name  # there, unchanged
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr
    trials = program.trials(name)
    assert len(trials) == 2
    assert not any("image_size_px" in trial.params for trial in trials)


def at(size: int) -> dict[str, Any]:
    return {**make_search(), "data": {"image_size_px": size}, "search": {"trials": 4}}


def make_vit(weights: str) -> Spec:
    return Spec.model_validate(make_tiny("vit", backbone={**VIT, "weights": weights}))


def explain(error: Exception) -> EnvironmentMissingError:
    """What `load_backbone` makes of it."""
    explained = EnvironmentMissingError("it does not fit", "use another device")
    explained.__cause__ = error
    return explained


def open_benches(program: Program, name: str, spec: Spec | None = None) -> Benches:
    record, backbones = program.record(name), Backbones(CPU, None)
    arrays = ArrayStore(program.cluster.home / "cache")
    split = find_images(record, list_images(program.store.engine, record.study_id), Path(record.data_dir))
    return Benches(
        spec or record.spec,
        lambda sized: Workbench(sized, split, record.split_sha256, backbones.open(sized), arrays),
        CPU,
    )


def run(benches: Benches, parameters: Any) -> TrialResult:
    return benches.run(TrialRequest(number=0, parameters=parameters, seed=7), Silence())
