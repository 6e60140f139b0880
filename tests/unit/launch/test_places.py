"""How many workers a cluster has room for, and their slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch.places import Needs, Node, count_places, lay_out_places

NODES = [Node("10.0.0.7", 1.0, 4.0), Node("10.0.0.8", 1.0, 4.0)]
HALF = Needs(0.5, 1.0)
TWO = [Node("a", 1.0, 4.0), Node("b", 1.0, 4.0)]
GPUS, CPUS = st.integers(0, 16), st.integers(1, 256)


def test_halves_of_two_gpus_are_four_places() -> None:
    assert count_places(TWO, Needs(0.5, 1.0)) == 4
    assert count_places(TWO, Needs(0.6, 1.0)) == 2  # a share lies on one GPU


def test_tenths_fill_a_gpu() -> None:
    assert count_places([Node("a", 1.0, 64.0)], Needs(0.1, 1.0)) == 10


def test_cores_limit_as_well() -> None:
    assert count_places(TWO, Needs(0.25, 2.0)) == 4
    assert count_places(TWO, Needs(0.0, 0.5)) == 16
    assert count_places([Node("head", 0.0, 8.0)], Needs(1.0, 1.0)) == 0


def test_what_a_node_has_is_said_in_words() -> None:
    assert TWO[0].describe() == "a: 1 GPU, 4 CPUs"
    assert Needs(0.5, 1.0).describe() == "0.5 GPUs and 1 CPU"


@given(GPUS, CPUS, st.sampled_from([1, 2, 4, 5, 8, 10, 20]), st.integers(1, 8))
def test_what_fits_never_holds_more_than_there_is(gpus: int, cpus: int, share: int, cores: int) -> None:
    needs = Needs(1 / share, float(cores))
    n = count_places([Node("a", float(gpus), float(cpus))], needs)
    assert n * cores <= cpus
    assert n <= gpus * share
    assert (n + 1) * cores > cpus or n + 1 > gpus * share  # and one more would


@given(st.lists(st.builds(Node, st.just("a"), GPUS.map(float), CPUS.map(float)), max_size=4))
def test_nodes_add_up(nodes: list[Node]) -> None:
    needs = Needs(0.5, 2.0)
    assert count_places(nodes, needs) == sum(count_places([node], needs) for node in nodes)


def test_a_worker_uses_one_gpu_or_a_part_of_it() -> None:
    Needs(1.0, 1.0).check()
    with pytest.raises(UsageError, match="--gpus-per-worker 2: a worker uses one GPU"):
        Needs(2.0, 1.0).check()


def test_without_a_count_the_cluster_is_filled() -> None:
    slots = lay_out_places(NODES, HALF, None, False, {"PGPASSFILE": "/on/each/node"})
    assert [slot.number for slot in slots] == [1, 2, 3, 4]
    assert slots[0].environment == {"PGPASSFILE": "/on/each/node"}


def test_a_cluster_without_room_is_described() -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        lay_out_places(NODES, HALF, 5, False, {})
    assert "no room for 5 workers with 0.5 GPUs and 1 CPU each" in caught.value.message
    assert "10.0.0.7: 1 GPU, 4 CPUs; 10.0.0.8: 1 GPU, 4 CPUs" in caught.value.message
    assert "room for 4" in caught.value.hint
    with pytest.raises(EnvironmentMissingError, match="no room for 1 worker with"):
        lay_out_places([Node("head", 0.0, 8.0)], HALF, None, False, {})


def test_a_cluster_that_grows_is_believed() -> None:
    assert len(lay_out_places([], HALF, 5, True, {})) == 5
    with pytest.raises(UsageError, match="--elastic without --count"):
        lay_out_places(NODES, HALF, None, True, {})
