"""How commands grow with the store: one study of 1,000 and of 20,000 trials, alone and beside 200 others.

Trials come from real workers that do no work, and are then copied by SQL with all of their rows but the scores of
single images, which nothing here reads. Each command is a process of its own: seconds on the wall, seconds of the
CPU in this process (the server's are not in it), and its peak memory. A page is what the browser asks for when it
opens the large study, beside the importance of its parameters, and the next page what it asks for a few seconds
later. The first ask is what a worker does before its first trial of the study begins, and the second what it does
before the next one.

    python benchmarks/scale.py [--trials 1000 20000] [--studies 200]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from sqlalchemy import Connection, text

import study_store as bench
from anomalyvfm_opt.report.dashboard import make_application
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import NewStudy, create_study, load_study
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.trial_store import Turn
from anomalyvfm_opt.worker.worker_store import WorkerStore
from dashboard import get

LARGE, SMALL = "large/tile", "small/tile"
SOURCE = 50  # trials of the large study that the others are copies of
SMALL_TRIALS = 4
GOALS = {"study list": 1.0, "study show": 2.0, "first ask": 3.0, "page opened": 3.0}  # seconds
GOAL_MIB = {"study list": 150.0}
MEASURED = (sys.executable, "-S", str(Path(__file__).with_name("measured.py")))

_COPY_TRIALS = """
CREATE TEMP TABLE copied AS
SELECT t.trial_id AS from_id, :last + row_number() OVER (ORDER BY k, t.trial_id) AS to_id,
       t.study_id + CASE WHEN :by_study THEN k ELSE 0 END AS study_id,
       t.number + CASE WHEN :by_study THEN 0 ELSE k * :source END AS number
  FROM trials t, generate_series(1, :copies) k WHERE t.study_id = :study_id;
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
SELECT c.to_id, c.number, c.study_id, t.state, t.datetime_start, t.datetime_complete
  FROM copied c JOIN trials t ON t.trial_id = c.from_id ORDER BY 1;
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
SELECT c.to_id, r.param_name, r.param_value, r.distribution_json
  FROM copied c JOIN trial_params r ON r.trial_id = c.from_id ORDER BY c.to_id, r.param_id;
INSERT INTO trial_values (trial_id, objective, value, value_type)
SELECT c.to_id, r.objective, r.value, r.value_type
  FROM copied c JOIN trial_values r ON r.trial_id = c.from_id ORDER BY c.to_id;
INSERT INTO trial_user_attributes (trial_id, key, value_json)
SELECT c.to_id, r.key, r.value_json
  FROM copied c JOIN trial_user_attributes r ON r.trial_id = c.from_id ORDER BY c.to_id, r.trial_user_attribute_id;
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
SELECT c.to_id, r.step, r.intermediate_value, r.intermediate_value_type
  FROM copied c JOIN trial_intermediate_values r ON r.trial_id = c.from_id
 ORDER BY c.to_id, r.trial_intermediate_value_id;
INSERT INTO anomalyvfm_opt.trial_metric
SELECT (jsonb_populate_record(m, jsonb_build_object('trial_id', c.to_id))).*
  FROM copied c JOIN anomalyvfm_opt.trial_metric m ON m.trial_id = c.from_id;
SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials));
DROP TABLE copied
"""
_COPY_STUDIES = """
INSERT INTO studies (study_id, study_name)
SELECT s.study_id + k, 'small' || k || '/tile' FROM studies s, generate_series(1, :copies) k
 WHERE s.study_id = :study_id;
INSERT INTO study_directions (direction, study_id, objective)
SELECT d.direction, d.study_id + k, d.objective FROM study_directions d, generate_series(1, :copies) k
 WHERE d.study_id = :study_id;
INSERT INTO anomalyvfm_opt.study
SELECT (jsonb_populate_record(s, jsonb_build_object('study_id', s.study_id + k,
        'spec', jsonb_set(s.spec, '{name}', to_jsonb('small' || k))))).*
  FROM anomalyvfm_opt.study s, generate_series(1, :copies) k WHERE s.study_id = :study_id;
INSERT INTO anomalyvfm_opt.study_image
SELECT (jsonb_populate_record(i, jsonb_build_object('study_id', i.study_id + k))).*
  FROM anomalyvfm_opt.study_image i, generate_series(1, :copies) k WHERE i.study_id = :study_id;
SELECT setval('studies_study_id_seq', (SELECT max(study_id) FROM studies))
"""


@dataclass(frozen=True)
class Taken:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    said: str


def make_study(store: Store, name: str, trials: int) -> int:
    """A study with trials of a worker that does no work; gives its id."""
    spec_name, category = name.split("/")
    spec = Spec.model_validate(
        {
            "name": spec_name,
            "data": {"image_size_px": 64, "lock": "half"},
            "references": [],
            "search": {"trials": trials},
        }
    )
    images = tuple(StoredImage(key, "search", "good", key, None, "00") for key in bench.KEYS)
    create_study(store, NewStudy(spec, category, "/data", "split", "weights", images), {})
    record = load_study(store.engine, name)
    study = WorkerStore(store, "w", list).open_study(record)
    with bench.open_loop(study, store.engine, record, run_like_a_real_one, "w") as loop:
        while loop.take_turn() is not Turn.DONE:
            pass
    for engine in (store.storage.engine, store.sampling_storage.engine, store.engine):
        engine.dispose()  # a database that is copied has nobody in it
    return record.study_id


def run_like_a_real_one(request: TrialRequest, progress: Progress) -> TrialResult:
    """A trial without work, with as many attributes as a real one has."""
    result = bench.run_nothing(request, progress)
    aurocs = {name: metrics.image_auroc for name, metrics in result.metrics.items()}
    attributes = {
        **result.attributes,
        "epoch_losses": [1 / epoch for epoch in range(1, bench.REPORTS + 1)],
        "final_ranks": {f"blocks.{number}.attn.qkv": 8 for number in range(12)},
        "dtype": "float32",
        "threads": 2,
        "host": "inspection-17",
        "weights": "pretrained",
        "versions": {"anomalyvfm_opt": "0.1.0", "torch": "2.14.1+cu130", "timm": "1.0.31", "peft": "0.21.2"},
        "objectives": {"synthetic": result.value, "labelled": result.value},
        "synthetic_scorer": "ensemble",
        "synthetic_auroc": aurocs,
        "scorer": "ensemble",
    }
    return replace(result, attributes=attributes)


def copy(url: str, study_id: int, source: int, copies: int, *, by_study: bool) -> None:
    """Copy the trials of a study into it, or into studies with the ids that follow it."""
    engine = make_engine(url)
    with engine.begin() as connection:
        values = {"study_id": study_id, "copies": copies}
        if by_study:
            run_each(connection, _COPY_STUDIES, values)
        last = connection.scalar(text("SELECT max(trial_id) FROM trials"))
        run_each(connection, _COPY_TRIALS, {**values, "last": last, "by_study": by_study, "source": source})
        budget = text("UPDATE anomalyvfm_opt.study SET budget = 1000000 WHERE study_id = :study_id")
        connection.execute(budget, {"study_id": study_id})
    engine.dispose()
    bench.run_alone(url, "VACUUM ANALYZE", "CHECKPOINT")


def run_each(connection: Connection, statements: str, values: Mapping[str, object]) -> None:
    """Run statements one by one, each with those of the values that it names."""
    for statement in statements.split(";\n"):
        named = {name: value for name, value in values.items() if f":{name}" in statement}
        connection.execute(text(statement), named)


def measure(url: str, *command: str) -> Taken:
    """Run a process to its end."""
    environment = {**os.environ, "ANOMALYVFM_OPT_DB_URL": url}
    with NamedTemporaryFile("r") as file:
        call = [*MEASURED, file.name, *command]
        answer = subprocess.run(
            call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        taken = json.load(file)
    if taken["exit_code"]:
        raise SystemExit(f"{' '.join(command)} ended with exit code {taken['exit_code']}")
    return Taken(taken["wall_s"], taken["cpu_s"], taken["peak_mib"], answer.stdout.decode())


def ask_twice(url: str) -> None:
    """What a worker does before its first trials; prints the seconds from the start of the process' work."""
    store = Store.at(url)
    record = load_study(store.engine, LARGE)
    began = [time.perf_counter()]

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        began.append(time.perf_counter())
        return run_like_a_real_one(request, progress)

    study = WorkerStore(store, "asker", list).open_study(record)
    with bench.open_loop(study, store.engine, record, run, "asker") as loop:
        loop.take_turn()
        told = time.perf_counter()
        loop.take_turn()
    print(json.dumps({"first ask": began[1] - began[0], "second ask": began[2] - told}))


def open_page(url: str) -> None:
    """What the dashboard answers when the page of the large study is opened, and when it asks again later."""
    store = Store.at(url)
    application = make_application(store.storage)
    study_id = load_study(store.engine, LARGE).study_id
    found: dict[str, float] = {}
    started, after = time.perf_counter(), 0
    get(application, f"/api/studies/{study_id}/param_importances", "")  # the browser asks for it at the same time
    found["importances"] = time.perf_counter() - started
    for kind in ("page opened", "next page"):
        started = time.perf_counter()
        body = get(application, f"/api/studies/{study_id}", f"after={after}")
        found[kind] = time.perf_counter() - started
        found[f"{kind}, MB"] = len(body) / 1e6
        after = len(json.loads(body)["trials"])
        time.sleep(10.1)  # optuna-dashboard keeps what it has read for 10 s
    print(json.dumps(found))


def show(url: str, heading: str) -> None:
    """Print the table of one store."""
    print(f"\n{heading}")
    print(f"{'':24}{'wall s':>8}{'CPU s':>8}{'MiB':>7}")
    program = (sys.executable, "-m", "anomalyvfm_opt")
    for name, command in {
        "study list": (*program, "study", "list"),
        "study show": (*program, "study", "show", LARGE),
        "worker list": (*program, "worker", "list"),
        "forecast list": (*program, "forecast", "list"),
    }.items():
        measure(url, *command)  # the first one reads the files from the disk
        taken = measure(url, *command)
        goal = judge(name, taken.wall_s, taken.peak_mib)
        print(f"{name:24}{taken.wall_s:8.2f}{taken.cpu_s:8.2f}{taken.peak_mib:7.0f}{goal}")
    for part in ("ask", "page"):
        taken = measure(url, sys.executable, str(Path(__file__)), "--part", part)
        print(f"{part + ' (whole process)':24}{taken.wall_s:8.2f}{taken.cpu_s:8.2f}{taken.peak_mib:7.0f}")
        for name, value in json.loads(taken.said).items():
            print(f"  {name:22}{value:8.2f}{judge(name, value)}")
    sys.stdout.flush()


def judge(name: str, seconds: float, peak_mib: float = 0.0) -> str:
    """Whether a goal is met, where there is one."""
    goal, goal_mib = GOALS.get(name), GOAL_MIB.get(name, math.inf)
    if goal is None:
        return ""
    wanted = f"{goal:.0f} s" + (f", {goal_mib:.0f} MiB" if goal_mib < math.inf else "")
    return f"   goal {wanted}: {'met' if seconds <= goal and peak_mib <= goal_mib else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--part", choices=("ask", "page"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is not None:
        {"ask": ask_twice, "page": open_page}[arguments.part](os.environ["ANOMALYVFM_OPT_DB_URL"])
        return
    with TemporaryDirectory() as home, bench.open_server() as server_url:
        os.environ["ANOMALYVFM_OPT_HOME"] = home
        url = bench.make_database(server_url, "source")
        store = Store.at(url)
        prepare_database(store.engine)
        large = make_study(store, LARGE, SOURCE)
        for trials in arguments.trials:
            grown = bench.make_database(server_url, f"trials_{trials}", "source")
            copy(grown, large, SOURCE, trials // SOURCE - 1, by_study=False)
            show(grown, f"1 study, {trials} trials")
        store = Store.at(grown)
        small = make_study(store, SMALL, SMALL_TRIALS)
        copy(grown, small, SMALL_TRIALS, arguments.studies - 1, by_study=True)
        show(grown, f"{1 + arguments.studies} studies, {trials + arguments.studies * SMALL_TRIALS} trials")


if __name__ == "__main__":
    main()
