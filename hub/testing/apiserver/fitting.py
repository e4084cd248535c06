"""Finds devices for the requests of a claim: the first that satisfy all constraints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hub.testing.apiserver import cel
from hub.testing.apiserver.kinds import Object
from hub.testing.apiserver.pools import Candidate, untolerated

_REPELLING = ("NoSchedule", "NoExecute")


class Demand(NamedTuple):
    """A request of a claim, or one of its alternatives."""

    name: str
    """`REQUEST`, or `REQUEST/ALTERNATIVE`."""
    class_name: str
    expressions: Sequence[str]
    """CEL expressions of the class and of the request, all of which a device has to match."""
    size: int | None
    """None for all devices that match."""
    tolerations: Sequence[Object] = ()
    admin: bool = False
    """Whether devices that are in use count too."""

    def matching(self, offered: Sequence[Candidate], used: Sequence[tuple[str, str, str]]) -> list[Candidate]:
        """Return the devices that can satisfy it."""
        matches = [cel.parse(expression) for expression in self.expressions]
        found = [each for each in offered if all(match(each.driver, each.device) for match in matches)]
        if self.admin:
            return found
        free = [each for each in found if each.key not in used]
        return [each for each in free if not untolerated(each.device, self.tolerations, _REPELLING)]


class ChosenDevice(NamedTuple):
    """A device for a request."""

    demand: Demand
    candidate: Candidate


class Constraint(NamedTuple):
    """An attribute that has to be the same on all devices of some requests."""

    attribute: str
    requests: Sequence[str]
    """Empty for all requests."""

    def allows(self, chosen: Sequence[ChosenDevice]) -> bool:
        """Return whether these devices have the same value, of the same type."""
        concerned = [each for each in chosen if self._concerns(each.demand.name)]
        values = [cel.attribute(each.candidate.driver, each.candidate.device, self.attribute) for each in concerned]
        return not values or (values[0] is not None and all(each == values[0] for each in values))

    def _concerns(self, name: str) -> bool:
        return not self.requests or name in self.requests or name.partition("/")[0] in self.requests


class Problem(NamedTuple):
    """Everything that decides which devices a claim gets."""

    requests: Sequence[Sequence[Demand]]
    """The alternatives of each request, the best first."""
    constraints: Sequence[Constraint]
    offered: Sequence[Candidate]
    used: frozenset[tuple[str, str, str]]

    def solve(self) -> list[ChosenDevice] | None:
        """Return the first solution; None if there is none."""
        return next(self._solutions(0, []), None)

    def _solutions(self, number: int, chosen: list[ChosenDevice]) -> Iterator[list[ChosenDevice]]:
        if number == len(self.requests):
            yield chosen
            return
        taken = {*self.used, *(each.candidate.key for each in chosen if not each.demand.admin)}
        for demand in self.requests[number]:
            matching = demand.matching(self.offered, tuple(taken))
            size = demand.size
            if size is None:
                # All matching devices have to be free.
                everything = demand.matching(self.offered, ())
                if not matching or len(everything) != len(matching):
                    continue
                size = len(matching)
            for found in self._choices(demand, matching, size, chosen):
                yield from self._solutions(number + 1, found)

    def _choices(
        self, demand: Demand, matching: Sequence[Candidate], size: int, chosen: list[ChosenDevice]
    ) -> Iterator[list[ChosenDevice]]:
        """Yield the choices of this many devices that the constraints allow."""
        if size == 0:
            yield chosen
            return
        for index, each in enumerate(matching[: len(matching) - size + 1]):
            found = [*chosen, ChosenDevice(demand, each)]
            if all(constraint.allows(found) for constraint in self.constraints):
                yield from self._choices(demand, matching[index + 1 :], size - 1, found)


def demands(request: Object, classes: Mapping[str, Object]) -> list[Demand]:
    """Return the alternatives of a request.

    Raises:
        KeyError: its class does not exist.
    """
    if exact := request.get("exactly"):
        return [_demand(request["name"], exact, classes)]
    return [_demand(f"{request['name']}/{each['name']}", each, classes) for each in request.get("firstAvailable") or ()]


def _demand(name: str, exact: Object, classes: Mapping[str, Object]) -> Demand:
    of_class = classes[exact["deviceClassName"]].get("spec") or {}
    selectors = [*(of_class.get("selectors") or ()), *(exact.get("selectors") or ())]
    expressions = [each["cel"]["expression"] for each in selectors if "cel" in each]
    size = None if exact.get("allocationMode") == "All" else exact.get("count", 1)
    tolerations = exact.get("tolerations") or ()
    return Demand(name, exact["deviceClassName"], expressions, size, tolerations, exact.get("adminAccess") is True)
