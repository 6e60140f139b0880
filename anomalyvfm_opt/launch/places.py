"""How many workers a cluster has room for. Pure: it is told what the nodes have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.words import counted

_GRAINS = 10_000  # of one GPU or CPU: Ray counts in ten thousandths, so 10 x 0.1 fill one


@dataclass(frozen=True)
class Node:
    """A machine of a cluster, and what it has in all, free or not."""

    address: str
    gpus: float
    cpus: float

    def describe(self) -> str:
        """Return `10.0.0.7: 2 GPUs, 16 CPUs`."""
        return f"{self.address}: {counted(self.gpus, 'GPU')}, {counted(self.cpus, 'CPU')}"


@dataclass(frozen=True)
class Needs:
    """What one worker holds of its node.

    Args:
        gpus: 0 to 1; a share of a GPU is a promise, not a limit: the memory is not divided.
        cpus: cores.
    """

    gpus: float
    cpus: float

    def describe(self) -> str:
        """Return `0.5 GPUs and 1 CPU`."""
        return f"{counted(self.gpus, 'GPU')} and {counted(self.cpus, 'CPU')}"

    def check(self) -> None:
        """Refuse what no worker can use.

        Raises:
            UsageError: more than one GPU.
        """
        if self.gpus > 1:
            raise UsageError(f"--gpus-per-worker {self.gpus:g}: a worker uses one GPU", "give 1, or a part of it")


def lay_out_places(
    nodes: Sequence[Node], needs: Needs, count: int | None, is_elastic: bool, environment: Mapping[str, str]
) -> list[Slot]:
    """Return a slot for each worker of a cluster.

    Args:
        nodes: that it has now.
        needs: of each worker.
        count: of workers; None for as many as fit.
        is_elastic: whether it grows when it is asked to, so that its room now says nothing.
        environment: what each worker sees beside its node's own.

    Raises:
        UsageError: no count for a cluster that grows.
        EnvironmentMissingError: they do not fit.
    """
    if is_elastic and count is None:
        raise UsageError("--elastic without --count", "say how many workers the cluster is to grow for")
    n_places = count_places(nodes, needs)
    n = count or n_places
    if not is_elastic and (n > n_places or n == 0):
        has = "; ".join(node.describe() for node in nodes)
        raise EnvironmentMissingError(
            f"no room for {counted(max(n, 1), 'worker')} with {needs.describe()} each: the cluster has {has}",
            f"it has room for {n_places}; ask for fewer or for less, or --elastic if the cluster grows by itself",
        )
    return [Slot(number, "ray", environment) for number in range(1, n + 1)]


def count_places(nodes: Sequence[Node], needs: Needs) -> int:
    """Return workers that fit on the nodes; a share of a GPU is one of a single GPU."""
    return sum(_count_on(node, needs) for node in nodes)


def _count_on(node: Node, needs: Needs) -> int:
    gpu, cpu = round(needs.gpus * _GRAINS), round(needs.cpus * _GRAINS)
    by_gpu = int(node.gpus) * (_GRAINS // gpu) if gpu else None
    by_cpu = round(node.cpus * _GRAINS) // cpu
    return by_cpu if by_gpu is None else min(by_gpu, by_cpu)
