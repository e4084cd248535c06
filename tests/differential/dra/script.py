"""Random scripts for drivers, claims and kubelets. A seed always produces the same script."""

import random

from tests.differential.script import Step

DRIVERS = ("a.example.com", "b.example.com")
ODD_ANSWERS = ("error", "missing", "unknown", "refused")
"""The odd responses from a driver: an error for the claim, no entry for it, one for another claim, a failed call."""

_SHORTEST, _LONGEST = 6, 14
_MAX_INSTANCES = 2
_MAX_CLAIMS = 12


class Writer:
    """A writer of one script. It knows only what the script itself has done, never how a kubelet has reacted.

    A kubelet handles a pod's drivers and claims in any order, so a pod has only one claim where the order would matter.

    Args:
        seed: The seed of all choices.
    """

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - not a secret
        self._count = 0
        self._alive: dict[str, list[str]] = {driver: [] for driver in DRIVERS}
        self._answers = dict.fromkeys(DRIVERS, "usual")
        self._claims: dict[str, str] = {}
        self._pods: dict[str, list[str]] = {}

    def write(self) -> list[Step]:
        """Return the steps."""
        length = self._dice.randint(_SHORTEST, _LONGEST)
        return [self._start(DRIVERS[0]), *(self._next() for _ in range(length))]

    def _next(self) -> Step:
        """Choose a step that is possible now; interesting steps are more frequent."""
        driver = self._dice.choice(DRIVERS)
        choices = [(2, self._restart), (2, self._answer)]
        if len(self._claims) < _MAX_CLAIMS:
            choices.append((8, self._prepare_new))
        if len(self._alive[driver]) < _MAX_INSTANCES:
            choices.append((4, lambda: self._start(driver)))
        if self._alive[driver]:
            choices += [(2, lambda: self._end("stop", driver)), (2, lambda: self._end("kill", driver))]
        if self._claims:
            choices += [(4, self._prepare_known), (1, self._remake)]
        if self._pods:
            choices += [(4, self._prepare_again), (5, self._unprepare)]
        if any(self._can_forget(pod) for pod in self._pods):
            choices.append((3, self._forget))
        weights, makers = zip(*choices, strict=True)
        return self._dice.choices(makers, weights)[0]()

    # Drivers.

    def _start(self, driver: str) -> Step:
        self._count += 1
        instance = f"i{self._count}"
        self._alive[driver].append(instance)
        return Step("start", {"driver": driver, "instance": instance})

    def _end(self, do: str, driver: str) -> Step:
        instance = self._dice.choice(self._alive[driver])
        self._alive[driver].remove(instance)
        return Step(do, {"driver": driver, "instance": instance})

    def _answer(self) -> Step:
        driver = self._dice.choice(DRIVERS)
        self._answers[driver] = "usual" if self._answers[driver] != "usual" else self._dice.choice(ODD_ANSWERS)
        return Step("answer", {"driver": driver, "how": self._answers[driver]})

    def _restart(self) -> Step:
        return Step(self._dice.choice(["restart", "crash"]))

    # Pods.

    def _prepare_new(self) -> Step:
        driver = self._dice.choice(DRIVERS)
        count = self._dice.choice([1, 1, 2]) if self._answers[driver] == "usual" else 1
        claims = [f"c{len(self._claims) + number}" for number in range(count)]
        self._claims |= dict.fromkeys(claims, driver)
        return Step("prepare", {"pod": self._pod(claims), "claims": claims, "driver": driver})

    def _prepare_known(self) -> Step:
        claim = self._dice.choice(sorted(self._claims))
        return Step("prepare", {"pod": self._pod([claim]), "claims": [claim], "driver": self._claims[claim]})

    def _prepare_again(self) -> Step:
        return Step("prepare_again", {"pod": self._dice.choice(sorted(self._pods))})

    def _unprepare(self) -> Step:
        # The pod stays if the driver does not answer, so that another attempt is possible.
        return Step("unprepare", {"pod": self._dice.choice(sorted(self._pods))})

    def _forget(self) -> Step:
        pod = self._dice.choice(sorted(pod for pod in self._pods if self._can_forget(pod)))
        del self._pods[pod]
        return Step("forget", {"pod": pod})

    def _remake(self) -> Step:
        return Step("remake", {"claim": self._dice.choice(sorted(self._claims))})

    def _pod(self, claims: list[str]) -> str:
        self._count += 1
        name = f"pod{self._count}"
        self._pods[name] = claims
        return name

    def _can_forget(self, pod: str) -> bool:
        """Return whether the first attempt unprepares a deleted pod's claims; otherwise, the kubelet retries calls."""
        drivers = {self._claims[claim] for claim in self._pods[pod]}
        return all(self._alive[driver] and self._answers[driver] == "usual" for driver in drivers)
