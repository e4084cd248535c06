"""The topology of simulated GPUs."""

from collections.abc import Sequence
from itertools import combinations

from plugins.gpu.discovery.facts import Ancestor, Link, Topology
from tests.simulators.nvml import SimulatedGpu
from tests.simulators.nvml.profiles import ancestor


def topology_of(gpus: Sequence[SimulatedGpu]) -> Topology:
    """Return how simulated GPUs are connected."""
    return Topology(
        {
            (min(one.uuid, other.uuid), max(one.uuid, other.uuid)): Link(
                Ancestor(ancestor(one, other)), one.peers.get(other.uuid, 0)
            )
            for one, other in combinations(gpus, 2)
        }
    )
