"""Workers as core actors of Ray, each with one worker process on its node.

Ray finds the places; which worker is started again, and when, is decided as for any other engine. An actor holds
its GPUs and cores as long as its worker lives, so a worker that is started again may land on another node.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.launch.base import Exit, Exits, Slot
from anomalyvfm_opt.launch.places import Needs
from anomalyvfm_opt.launch.ray_actor import DetachedWorker, HeldWorker
from anomalyvfm_opt.launch.ray_connection import NAMESPACE

if TYPE_CHECKING:
    from ray import ObjectRef

_LOOK_S = 0.5
_PATIENCE_S = 5.0  # an actor takes a second or two where there is room
_UNREACHED_S = 120.0  # a broken connection may come back; whether an actor or its node died is known by then


class RayLauncher:
    """Starts workers in actors of the cluster that this process has joined; they end with this process.

    Args:
        on_line: told of each line that a worker writes, from a thread of that worker's own.
        needs: of each worker.
    """

    def __init__(self, on_line: Callable[[Slot, str], None], needs: Needs) -> None:
        self._on_line = on_line
        self._needs = needs
        self.exits = Exits()
        self._signals: dict[int, deque[int]] = {}

    def start(self, slot: Slot, arguments: Sequence[str]) -> None:
        """Ask for an actor; its worker starts where and when there is room."""
        signals = self._signals[slot.number] = deque()
        threading.Thread(target=self._follow, args=(slot, list(arguments), signals), daemon=True).start()

    def signal(self, number: int) -> None:
        """Pass a signal on to all workers that live; one that has no place yet is not started."""
        for signals in list(self._signals.values()):
            signals.append(number)

    def _follow(self, slot: Slot, arguments: list[str], signals: deque[int]) -> None:
        import ray
        from ray.exceptions import RayError

        ended = Exit(slot, -signal.SIGKILL, "its thread failed: a bug, see above")
        try:
            actor = ray.remote(HeldWorker).options(max_concurrency=2, **_place(self._needs)).remote()
            try:
                ended = Exit(slot, self._hold(slot, actor, arguments, signals))
            finally:
                ray.kill(actor)  # gives its GPUs and cores back
        except (RayError, OSError, RuntimeError, ValueError) as error:  # Ray's own, and a lost connection's
            ended = Exit(slot, -signal.SIGKILL, describe_loss(error))
        finally:  # whatever else was raised: who waits for it would wait for ever
            self.exits.add(ended)

    def _hold(self, slot: Slot, actor: Any, arguments: list[str], signals: deque[int]) -> int:
        """Follow a worker from its actor's place to its exit code, which is returned."""
        import ray

        place = actor.start.remote(slot, arguments)
        code = self._wait_for_place(slot, place, signals)
        if code is not None:
            return code
        self._say(slot, f"placed {ray.get(place)}")
        return self._read(slot, actor, signals)

    def _wait_for_place(self, slot: Slot, place: "ObjectRef[str]", signals: deque[int]) -> int | None:
        """Return an exit code if a signal comes before the actor is there."""
        import ray

        since, is_said = time.monotonic(), False
        while not ray.wait([place], timeout=_LOOK_S)[0]:
            if signals:
                return 128 + signals.popleft()
            if not is_said and time.monotonic() - since > _PATIENCE_S:
                is_said = True
                self._say(slot, f"waits for {self._needs.describe()} to be free in the cluster")
        return None

    def _read(self, slot: Slot, actor: Any, signals: deque[int]) -> int:
        import ray
        from ray.exceptions import ActorUnavailableError

        heard_at = time.monotonic()
        while True:
            answer = actor.read.remote()
            while not ray.wait([answer], timeout=_LOOK_S)[0]:
                _pass_on(signals, actor)
            try:
                lines, code = ray.get(answer)
            except ActorUnavailableError:
                if time.monotonic() - heard_at > _UNREACHED_S:
                    raise
                time.sleep(_LOOK_S)
                continue
            heard_at = time.monotonic()
            for line in lines:
                self._say(slot, line)
            if code is not None:
                return int(code)
            _pass_on(signals, actor)

    def _say(self, slot: Slot, line: str) -> None:
        with suppress(OSError):  # nobody may read ours any more
            self._on_line(slot, line)


def detach_workers(
    slots: Sequence[Slot], arguments: Sequence[str], family: str, needs: Needs, patience_s: float
) -> list[str | None]:
    """Start actors that outlive this process, each with one worker that is started again when it crashes.

    Args:
        slots: one an actor.
        arguments: of `worker run`, without the name.
        family: first part of the names of actors and workers.
        needs: of each worker.
        patience_s: how long to wait for places.

    Returns:
        For each slot where its actor is; None if it waits for room.

    Raises:
        EnvironmentMissingError: an actor cannot start at all.
    """
    import ray
    from ray.exceptions import RayError

    options = {"namespace": NAMESPACE, "lifetime": "detached", "max_restarts": -1, **_place(needs)}
    maker = ray.remote(DetachedWorker)
    actors = [
        maker.options(name=f"{family}-{slot.number}", **options).remote(slot, list(arguments), family)
        for slot in slots
    ]
    answers = [actor.place.remote() for actor in actors]
    placed, _ = ray.wait(answers, num_returns=len(answers), timeout=patience_s)
    try:
        return [ray.get(answer) if answer in placed else None for answer in answers]
    except RayError as error:
        raise EnvironmentMissingError(
            f"the workers cannot start: {describe_loss(error)}", "is anomalyvfm-opt installed on every node?"
        ) from None


def describe_loss(error: Exception) -> str:
    """Return why an actor is gone, in a few words: Ray's own are half a page."""
    text = str(error)
    if "its node has died" in text:
        return "its node died"
    if "unavailable" in text:
        return "its actor cannot be reached"
    if "died unexpectedly" in text:
        return "its actor died"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def _place(needs: Needs) -> Mapping[str, Any]:
    return {"num_gpus": needs.gpus, "num_cpus": needs.cpus, "scheduling_strategy": "SPREAD"}


def _pass_on(signals: deque[int], actor: Any) -> None:
    while signals:
        actor.signal.remote(signals.popleft())
