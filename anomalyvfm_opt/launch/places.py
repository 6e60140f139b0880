"""How many workers a cluster has room for. Pure: it is told what the nodes have."""

from collections.abc import Sequence
from dataclasses import dataclass

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


def count_places(nodes: Sequence[Node], needs: Needs) -> int:
    """Return workers that fit on the nodes; a share of a GPU is one of a single GPU."""
    return sum(_count_on(node, needs) for node in nodes)


def _count_on(node: Node, needs: Needs) -> int:
    gpu, cpu = round(needs.gpus * _GRAINS), round(needs.cpus * _GRAINS)
    by_gpu = int(node.gpus) * (_GRAINS // gpu) if gpu else None
    by_cpu = round(node.cpus * _GRAINS) // cpu
    return by_cpu if by_gpu is None else min(by_gpu, by_cpu)
