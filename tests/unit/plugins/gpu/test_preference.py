"""Which GPUs a container should get: the best connected ones, or shares of as many GPUs as possible."""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.gpu.discovery.facts import Ancestor, Link, Topology
from plugins.gpu.preference.connected import best_connected, score
from plugins.gpu.preference.partition import _partitions as _partitions_in_order
from plugins.gpu.preference.partition import best_partition, set_score
from tests.simulators.nvml.profiles import make_profile
from tests.unit.plugins.gpu.gpu_topology import topology_of


def _random_topology(names: Sequence[str], rng: random.Random) -> Topology:
    return Topology(
        {pair: Link(rng.choice(list(Ancestor)), rng.choice([0, 0, 1, 2])) for pair in combinations(names, 2)}
    )


def _best(profile: str, size: int, *, without: Sequence[int] = (), required: Sequence[int] = ()) -> set[int]:
    gpus = make_profile(profile)
    names = [gpu.uuid for gpu in gpus]
    available = [name for number, name in enumerate(names) if number not in without]
    return {
        names.index(name)
        for name in best_connected(topology_of(gpus), available, [names[number] for number in required], size)
    }


def _sum(topology: Topology, chosen: Sequence[str]) -> int:
    return sum(score(topology.link(one, other)) for one, other in combinations(chosen, 2))


def _partitions(names: Sequence[str], size: int) -> Iterator[list[tuple[str, ...]]]:
    """Yield all ways to divide GPUs into sets of a size; what does not divide evenly is the last set."""
    if len(names) < size:
        yield [tuple(names)]
        return
    for rest in combinations(names, len(names) % size):
        left = [name for name in names if name not in rest]
        for others in combinations(left[1:], size - 1):
            chosen = (left[0], *others)
            for more in _partitions([name for name in left if name not in chosen], size):
                yield [chosen, *more[:-1], rest]


def _totals(
    topology: Topology, names: Sequence[str], required: Sequence[str], size: int
) -> list[tuple[int, list[int]]]:
    """Return the score of each partition, and of its sets that a container could get, the worst one first."""
    return [
        (sum(_sum(topology, each) for each in sets), sorted(_sum(topology, each) for each in sets[:-1]))
        for sets in _partitions(names, size)
        if any(set(required) <= set(each) for each in sets[:-1])
    ]


def _in_turn(topology: Topology, available: Sequence[str], size: int) -> list[int]:
    """Return the scores of the sets of successive containers, until there are too few GPUs."""
    left, scores = list(available), []
    while len(left) >= size:
        chosen = best_connected(topology, left, [], size)
        scores.append(_sum(topology, chosen))
        left = [name for name in left if name not in chosen]
    return scores


@pytest.mark.parametrize(
    ("link", "value"),
    [
        (Link(), 10),
        (Link(Ancestor.CPU), 20),
        (Link(Ancestor.HOST_BRIDGE), 30),
        (Link(Ancestor.MULTIPLE_SWITCHES), 40),
        (Link(Ancestor.SINGLE_SWITCH), 50),
        (Link(Ancestor.BOARD), 60),
        (Link(Ancestor.SYSTEM, 18), 1810),
    ],
)
def test_scores(link: Link, value: int) -> None:
    """A connection scores by where the paths meet, plus 100 for each NVLink."""
    assert score(link) == value


@pytest.mark.parametrize(
    ("size", "scores"),
    [
        (2, [230, 230, 230, 230]),  # two links each, instead of two good pairs and two bad ones
        (3, [610, 610]),
        (4, [1120, 1120]),  # a board of four each, instead of rings over both boards
        (8, [3000]),
    ],
)
def test_cube_mesh(size: int, scores: list[int]) -> None:
    """On a DGX-1 each container gets a set as good as the others'."""
    gpus = make_profile("mesh8")
    assert _in_turn(topology_of(gpus), [gpu.uuid for gpu in gpus], size) == scores


def test_required_gpus_of_a_cube_mesh() -> None:
    """They are in the set, with those that suit them."""
    assert _best("mesh8", 2, required=(5,)) == {5, 6}
    assert _best("mesh8", 4, without=(0,)) == {4, 5, 6, 7}


def test_pcie_switches() -> None:
    """Two GPUs are taken from one switch, four from one NUMA node."""
    assert _best("pcie8", 2) == {0, 1}
    assert _best("pcie8", 2, without=(0,)) == {2, 3}
    assert _best("pcie8", 4, without=(1,)) == {4, 5, 6, 7}


def test_the_remaining_gpus_stay_well_connected() -> None:
    """A single GPU is taken from a switch that has already lost its other one, so the pairs stay pairs."""
    assert _best("pcie8", 1, without=(3,)) == {2}
    assert _best("pcie16", 1, without=(8, 0)) in ({1}, {9})


def test_equal_gpus_are_taken_in_order() -> None:
    """If all are connected alike the first ones are taken, so that the result is always the same."""
    assert _best("switch8", 3) == {0, 1, 2}


@given(st.integers(2, 8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_up_to_eight_gpus_no_partition_is_better(count: int, rng: random.Random) -> None:
    """Successive containers of one size get the best partition; among equals, the one whose worst set is best.

    NVIDIA's plugin takes the first of those with the best sum, so no container has a worse set than with that plugin.
    """
    names = [f"g{number}" for number in range(count)]
    topology = _random_topology(names, rng)
    size = rng.randint(2, count)
    assert sorted(_in_turn(topology, names, size)) == max(_totals(topology, names, [], size))[1]


@given(st.integers(2, 8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_up_to_eight_gpus_with_required_ones(count: int, rng: random.Random) -> None:
    """The set contains them, and belongs to the best partition of which this is true."""
    names = [f"g{number}" for number in range(count)]
    topology = _random_topology(names, rng)
    size = rng.randint(2, count)
    required = rng.sample(names, rng.randint(1, size))
    chosen = best_connected(topology, names, required, size)
    assert set(required) <= set(chosen)
    assert len(set(chosen)) == size
    left = [name for name in names if name not in chosen]
    rest = max(_totals(topology, left, [], size))[0] if len(left) >= size else _sum(topology, left)
    assert _sum(topology, chosen) + rest == max(_totals(topology, names, required, size))[0]


@pytest.mark.parametrize("profile", ["pcie16", "switch16"])
@pytest.mark.parametrize("size", range(2, 9))
def test_sixteen_gpus(profile: str, size: int) -> None:
    """The search is bounded, and finds the best set where a machine is built regularly: neighbors stay together."""
    gpus = make_profile(profile)
    names, topology = [gpu.uuid for gpu in gpus], topology_of(gpus)
    scores = _in_turn(topology, names, size)
    if 16 % size == 0:
        blocks = [_sum(topology, names[start : start + size]) for start in range(0, 16, size)]
        assert sorted(scores) == sorted(blocks)
    assert len(scores) == 16 // size


def _plainly(pairs: Sequence[Sequence[int]], fixed: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    """Return the best partition, computed without a cache."""

    def worth(sets: Sequence[tuple[int, ...]]) -> tuple[int, list[int]]:
        scores = [set_score(pairs, members) for members in sets]
        return sum(scores), sorted(score for score, members in zip(scores, sets, strict=True) if len(members) == size)

    return max(_partitions_in_order(tuple(range(len(pairs))), fixed, size), key=worth)


@given(st.integers(2, 8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_between_questions_changes_no_answer(count: int, rng: random.Random) -> None:
    """The search returns the same sets in the same order as without a cache, whatever was asked about other GPUs."""
    size = rng.randint(2, count)
    fixed = tuple(sorted(rng.sample(range(count), rng.randint(0, size))))
    for _ in range(2):
        pairs = [[0] * count for _ in range(count)]
        for one, other in combinations(range(count), 2):
            pairs[one][other] = pairs[other][one] = rng.choice([10, 20, 50, 110, 1810])
        assert best_partition(pairs, fixed, size) == _plainly(pairs, fixed, size)


@given(st.integers(9, 16), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_beyond_eight_gpus_any_question_has_an_answer(count: int, rng: random.Random) -> None:
    """It has the right number of different GPUs with the required ones, and is the same if asked again."""
    names = [f"g{number:02}" for number in range(count)]
    topology = _random_topology(names, rng)
    size = rng.randint(1, count)
    required = rng.sample(names, rng.randint(0, size))
    chosen = best_connected(topology, names, required, size)
    assert set(required) <= set(chosen)
    assert len(set(chosen)) == size
    assert chosen == best_connected(topology, names, required[::-1], size)
