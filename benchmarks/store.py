"""Our trial loop against plain Optuna on one PostgreSQL, in the same run, with trials that do no work.

Plain is `study.optimize` on Optuna's own RDBStorage. Ours is TrialLoop, which also reaps, takes a ticket, holds a
lease with a heartbeat, and writes attributes and the scores of 62 images by five scorers. Both use the same
sampler on the same 8 searched parameters (ours writes 4 more that have one choice each) and report 10 values a
trial. Workers are processes, forked with the study's trials in memory: the first read is a column of its own.
The gap is the time between the work of two trials of one worker: tell, and ask with all parameters.
"""

import argparse
import math
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import text

import study_store as bench
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.space import build_sampler, list_distributions
from anomalyvfm_opt.trial.trial_store import Turn

WORKERS = (1, 8, 32)
FINISHED = (100, 1000, 5000)
TRIALS = {1: 20, 8: 40, 32: 64}  # a round of a cell and side; others: 3 a worker
ROUNDS = 2  # the sides take turns, since the machine may be busy with something else for a while
SOURCE = 50  # finished trials that the others are copies of
LEAST_WAIT_S = 0.05

_COPY = """
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
SELECT trial_id + k * {stride}, number + k * {source}, study_id, state, datetime_start, datetime_complete
  FROM trials, generate_series(1, {copies}) k ORDER BY 1;
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
SELECT trial_id + k * {stride}, param_name, param_value, distribution_json
  FROM trial_params, generate_series(1, {copies}) k ORDER BY k, param_id;
INSERT INTO trial_values (trial_id, objective, value, value_type)
SELECT trial_id + k * {stride}, objective, value, value_type
  FROM trial_values, generate_series(1, {copies}) k ORDER BY k, trial_value_id;
INSERT INTO trial_user_attributes (trial_id, key, value_json)
SELECT trial_id + k * {stride}, key, value_json
  FROM trial_user_attributes, generate_series(1, {copies}) k ORDER BY k, trial_user_attribute_id;
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
SELECT trial_id + k * {stride}, step, intermediate_value, intermediate_value_type
  FROM trial_intermediate_values, generate_series(1, {copies}) k ORDER BY k, trial_intermediate_value_id;
SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials));
"""


@dataclass
class Gaps:
    """Notes when the work of a worker's trials began and ended."""

    seconds: list[float]
    ended_at: float | None = None

    def begin(self) -> None:
        if self.ended_at is not None:
            self.seconds.append(time.perf_counter() - self.ended_at)

    def end(self) -> None:
        self.ended_at = time.perf_counter()


@dataclass
class Measured:
    """One side of one cell, over its rounds."""

    trials: int = 0
    elapsed_s: float = 0.0
    cpu_s: float = 0.0  # of the clients
    gaps_s: list[float] = field(default_factory=list)
    load_s: float = math.inf  # reading the study for the first time, the least of the rounds

    @property
    def rate(self) -> float:
        """Trials a second."""
        return self.trials / self.elapsed_s

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.gaps_s)

    @property
    def p99_ms(self) -> float:
        return 1000 * sorted(self.gaps_s)[int(0.99 * len(self.gaps_s))]

    @property
    def cpu_ms(self) -> float:
        """A trial."""
        return 1000 * self.cpu_s / self.trials


Work = Callable[[int, Gaps], int]  # worker -> trials that it ran


def run_workers(work: Work, workers: int, measured: Measured) -> None:
    """Fork workers, let them begin together, and see what they took."""
    context = multiprocessing.get_context("fork")
    gate, answers = context.Barrier(workers + 1), context.SimpleQueue()

    def run(index: int) -> None:
        gaps = Gaps([])
        gate.wait()
        before = resource.getrusage(resource.RUSAGE_SELF)
        trials = work(index, gaps)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        answers.put((trials, cpu_s, gaps.seconds, gaps.ended_at))

    processes = [context.Process(target=run, args=(index,)) for index in range(workers)]
    for process in processes:
        process.start()
    gate.wait()
    started = time.perf_counter()
    found = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    measured.elapsed_s += max(answer[3] or started for answer in found) - started
    for trials, cpu_s, gaps_s, _ in found:
        measured.trials += trials
        measured.cpu_s += cpu_s
        measured.gaps_s += gaps_s


def load(storage: RDBStorage, name: str, measured: Measured) -> optuna.Study:
    """A study with its trials in memory and no connection open."""
    study = optuna.load_study(study_name=name, storage=storage)
    started = time.perf_counter()
    study.get_trials(deepcopy=False)
    measured.load_s = min(measured.load_s, time.perf_counter() - started)
    storage.engine.dispose()
    return study


def measure_plain(url: str, record: StudyRecord, workers: int, trials: int, measured: Measured) -> None:
    """A round of Optuna as its documentation runs it."""
    study = load(RDBStorage(url), "plain", measured)
    space = {n: d for n, d in list_distributions(record.spec.search.space).items() if not d.single()}

    def work(index: int, gaps: Gaps) -> int:
        study.sampler = build_sampler(record.spec.search, "plain", f"w{index}")
        study.optimize(lambda trial: run(trial, gaps), n_trials=trials // workers)
        return trials // workers

    def run(trial: optuna.Trial, gaps: Gaps) -> float:
        for name, distribution in space.items():
            trial._suggest(name, distribution)
        gaps.begin()
        value = trial.number % 1000 / 1000
        for epoch in range(1, bench.REPORTS + 1):
            trial.report(value * epoch / bench.REPORTS, epoch)
        gaps.end()
        return value

    run_workers(work, workers, measured)


def measure_ours(url: str, record: StudyRecord, workers: int, measured: Measured) -> None:
    """A round of the loop that `worker run` runs, until the budget is used up."""
    study = load(open_storage(url), record.name, measured)

    def work(index: int, gaps: Gaps) -> int:
        study.sampler = build_sampler(record.spec.search, record.name, f"w{index}")
        engine = make_engine(url)
        ended: list[object] = []

        def run(request: TrialRequest, progress: Progress) -> TrialResult:
            gaps.begin()
            result = bench.run_nothing(request, progress)
            gaps.end()
            return result

        with bench.open_loop(study, engine, record, run, f"w{index}", ended.append) as loop:
            while (turn := loop.take_turn()) is not Turn.DONE:
                if turn is Turn.WAIT:
                    time.sleep(LEAST_WAIT_S)
        return len(ended)

    run_workers(work, workers, measured)


def fill_source(url: str) -> None:
    """Two studies with a few finished trials each: ours, and the same number of Optuna's own."""
    record = bench.make_study(url, SOURCE)
    storage = open_storage(url)
    study = optuna.load_study(
        study_name=record.name, storage=storage, sampler=optuna.samplers.RandomSampler(seed=1)
    )
    engine = make_engine(url)
    with bench.open_loop(study, engine, record, bench.run_nothing, "w") as loop:
        while loop.take_turn() is not Turn.DONE:
            pass
    plain = optuna.create_study(
        storage=storage,
        study_name="plain",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    space = {n: d for n, d in list_distributions(record.spec.search.space).items() if not d.single()}
    for _ in range(SOURCE):
        trial = plain.ask(space)
        for epoch in range(1, bench.REPORTS + 1):
            trial.report(0.5, epoch)
        plain.tell(trial, trial.number / SOURCE)
    storage.engine.dispose()
    engine.dispose()


def grow(url: str, finished: int) -> None:
    """Copy the finished trials of `fill_source` until each of its studies has so many."""
    copies = finished // SOURCE - 1
    statement = _COPY.format(stride=2 * SOURCE, source=SOURCE, copies=copies)
    bench.run_alone(url, statement, "VACUUM ANALYZE", "CHECKPOINT")


def check_exact(url: str, record: StudyRecord) -> None:
    """The budget is used up exactly, each trial is complete, and no lease is left."""
    engine = make_engine(url)
    usage = count_usage(engine, record.study_id)
    with engine.connect() as connection:
        leases = connection.scalar(text("SELECT count(*) FROM anomalyvfm_opt.lease"))
    engine.dispose()
    if (usage.complete, usage.used, leases) != (record.budget, record.budget, 0):
        raise SystemExit(f"not exact: {usage}, budget {record.budget}, {leases} leases")


def run_cell(server_url: str, finished: int, workers: int) -> tuple[Measured, Measured]:
    """Both sides in turns on a fresh copy of the database with that many finished trials."""
    name = f"cell_{finished}_{workers}"
    url = bench.make_database(server_url, name, f"base_{finished}")
    trials = TRIALS.get(workers, 3 * workers)
    plain, ours = Measured(), Measured()
    for round_number in range(1, ROUNDS + 1):
        record = bench.set_budget(url, finished + round_number * trials)
        measure_plain(url, record, workers, trials, plain)
        measure_ours(url, record, workers, ours)
        check_exact(url, record)
    bench.run_alone(server_url, f"DROP DATABASE {name}")
    return plain, ours


def show(finished: int, workers: int, plain: Measured, ours: Measured) -> None:
    """One line of the table: plain / ours for each figure."""

    def pair(name: str, digits: int = 0) -> str:
        return f"{getattr(plain, name):.{digits}f} / {getattr(ours, name):.{digits}f}"

    ratios = f"{ours.rate / plain.rate:.2f} | {ours.median_ms / plain.median_ms:.2f}"
    figures = (pair("rate", 1), pair("median_ms"), pair("p99_ms"), pair("cpu_ms"), pair("load_s", 2))
    print(f"| {finished} | {workers} | {' | '.join(figures)} | {ratios} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--trials", type=int, nargs="+", default=FINISHED, help="finished trials in the study")
    arguments = parser.parse_args()
    with bench.open_server() as server_url:
        fill_source(bench.make_database(server_url, "source"))
        print("plain / ours: trials a second; gap, median and p99 (ms); clients' CPU a trial (ms); first read (s)")
        print("ratios: ours : plain")
        print("| finished | workers | trials/s | median | p99 | CPU | first read | rate ratio | median ratio |")
        print("|---|---|---|---|---|---|---|---|---|")
        for finished in arguments.trials:
            grow(bench.make_database(server_url, f"base_{finished}", "source"), finished)
            for workers in arguments.workers:
                show(finished, workers, *run_cell(server_url, finished, workers))


if __name__ == "__main__":
    main()
