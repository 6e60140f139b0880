"""A page of the dashboard on a study of thousands of trials: ours against plain optuna-dashboard, in the same run.

Plain is `optuna_dashboard.wsgi` on Optuna's own RDBStorage, as optuna-dashboard's command serves it. Ours is what
`anomalyvfm-opt dashboard` serves. Both answer in this process, in turns:

- first: the page is opened for the first time after a start, with all trials;
- reload: it is opened again later, with all trials;
- refresh: the open page asks for what is new, as it does every few seconds.

optuna-dashboard keeps what it has read for 10 s, so that much time passes before each. Beside the seconds stands
the CPU time of this process, which a busy machine changes less.
"""

import argparse
import io
import json
import statistics
import time
from typing import Any

import optuna_dashboard
from optuna.storages import RDBStorage

import study_store as bench
from anomalyvfm_opt.report.dashboard import make_application
from anomalyvfm_opt.report.guard import Application
from anomalyvfm_opt.store.storage import open_storage
from store import fill_source, grow

KEPT_S = 10.1
KINDS = ("first", "reload", "refresh")
Taken = tuple[float, float]  # seconds, and those of the CPU


def get(application: Application, path: str, query: str) -> bytes:
    """The body of an answer."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "HTTP_HOST": "localhost",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    return b"".join(application(environ, lambda *_: None))


def ask(application: Application, path: str, query: str) -> tuple[Taken, Any]:
    """What it took, and what was answered."""
    started, cpu = time.perf_counter(), time.process_time()
    body = get(application, path, query)
    taken = time.perf_counter() - started, time.process_time() - cpu
    return taken, json.loads(body)


def measure(sides: dict[str, Any], study_id: int, trials: int, rounds: int) -> dict[str, dict[str, list[Taken]]]:
    """Side -> kind -> what each round took."""
    path = f"/api/studies/{study_id}"
    found: dict[str, dict[str, list[Taken]]] = {side: {kind: [] for kind in KINDS} for side in sides}
    for number in range(2 * rounds + 1):
        kind = "first" if number == 0 else KINDS[1 + number % 2]
        for side, application in sides.items():
            after = trials if kind == "refresh" else 0
            taken, answer = ask(application, path, f"after={after}")
            found[side][kind].append(taken)
            if len(answer["trials"]) != trials - after:
                raise SystemExit(f"{side} answered {len(answer['trials'])} trials after {after} of {trials}")
        time.sleep(KEPT_S)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with bench.open_server() as server_url:
        url = bench.make_database(server_url, "dashboard")
        fill_source(url)
        grow(url, arguments.trials)
        storage = open_storage(url)
        sides = {"plain": optuna_dashboard.wsgi(RDBStorage(url)), "ours": make_application(storage)}
        study_id = storage.get_study_id_from_name("plain")
        found = measure(sides, study_id, arguments.trials, arguments.rounds)
        storage.engine.dispose()
    print(f"a study of {arguments.trials} trials, median of {arguments.rounds} (first: once), in seconds")
    print("| page | plain | ours | ratio | plain, CPU | ours, CPU | ratio |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        cells = []
        for part in (0, 1):
            plain, ours = (statistics.median(taken[part] for taken in found[side][kind]) for side in sides)
            cells.append(f"{plain:.2f} | {ours:.2f} | {ours / plain:.3f}")
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
