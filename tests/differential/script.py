"""Random scripts for plugins and kubelets. A seed always produces the same script."""

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A, B = "example.com/a", "example.com/b"
PLUGINS = {"a-old": A, "a-new": A, "a-third": A, "b-old": B, "b-new": B}
"""The resource of each plugin, by the plugin's name; plugins with the same resource stand for old and new processes."""

WAYS = {"again": 6, "given up": 1, "late": 1}
"""The ways to register, and how frequent each is."""

Device = tuple[str, str, tuple[int, ...]]
"""Id, health and NUMA nodes."""

_SHORTEST, _LONGEST = 4, 16
_IDS = [f"d{number}" for number in range(6)]
_ODD_HEALTH = ("healthy", "", "Unknown", "Unhealthy")
_HUGE = 3000
_TOO_LONG = 4 * 1024 * 1024
_ABSENT = 0.02


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a method of `Side`, with its arguments."""

    do: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the call as code."""
        words = ", ".join(f"{name}={_short(value)}" for name, value in self.arguments.items())
        return f"{self.do}({words})"


class Writer:
    """A writer of one script. It knows only what the script itself has done, never how a kubelet has reacted.

    Args:
        seed: The seed of all choices.
        plugins: The names of the plugins.
        ways: The ways to register.
    """

    def __init__(self, seed: int, plugins: "Sequence[str]", ways: "Sequence[str]") -> None:
        self._plugins = plugins
        self._ways = ways
        self._dice = random.Random(seed)  # noqa: S311 - not a secret
        self._running = True
        self._bound: set[str] = set()
        self._pods: list[str] = []
        self._count = 0
        self._hanging: set[str] = set()

    def write(self) -> list[Step]:
        """Return the steps."""
        return [self._serve("a-old"), *(self._next() for _ in range(self._dice.randint(_SHORTEST, _LONGEST)))]

    def _next(self) -> Step:
        """Choose a step that is possible now; interesting steps are more frequent."""
        choices: list[tuple[int, Callable[[], Step]]] = [(2, self._restart_kubelet)]
        if not self._running:
            return self._dice.choice([self._start_kubelet, self._start_kubelet, self._die])()
        choices += [(6, self._begin_or_end), (2, self._refused)]
        if self._bound:
            choices += [(4, self._register), (3, self._end_streams), (3, self._die), (4, self._behave)]
        if self._bound and not self._hanging:
            # A kubelet crashes if a device leaves the list while the kubelet waits for a response about that device.
            choices += [(8, self._list)]
        choices += [(12, self._admit)]
        if self._pods:
            choices += [(4, self._remove), (3, self._start_container)]
        if self._hanging:
            choices += [(8, self._release)]
        weights, makers = zip(*choices, strict=True)
        return self._dice.choices(makers, weights)[0]()

    # Plugins.

    def _begin_or_end(self) -> Step:
        plugin = self._any(self._plugins)
        return self._die(plugin) if plugin in self._bound else self._serve(plugin)

    def _serve(self, plugin: str) -> Step:
        self._bound.add(plugin)
        self._hanging.discard(plugin)
        options = {"pre_start": self._dice.random() < 0.5, "prefers": self._dice.random() < 0.7}
        return Step("serve", {"plugin": plugin, "listed": self._devices(), **options})

    def _register(self) -> Step:
        how = self._dice.choices(self._ways, [WAYS[name] for name in self._ways])[0]
        return Step("register", {"plugin": self._any(self._bound), "how": how})

    def _refused(self) -> Step:
        if self._dice.random() < _ABSENT:
            return Step("register_absent", {"resource": self._dice.choice((A, B))})
        ways = ["version", "name", "options"] if self._bound else ["version", "name"]
        return Step("refused", {"resource": self._dice.choice((A, B)), "way": self._dice.choice(ways)})

    def _list(self) -> Step:
        return Step("send", {"plugin": self._any(self._bound), "listed": self._devices()})

    def _end_streams(self) -> Step:
        return Step("end_streams", {"plugin": self._any(self._bound)})

    def _die(self, plugin: str | None = None) -> Step:
        plugin = plugin or self._any(self._bound or self._plugins)
        self._bound.discard(plugin)
        self._hanging.discard(plugin)
        return Step("die", {"plugin": plugin})

    def _behave(self) -> Step:
        plugin = self._any(self._bound)
        call = self._dice.choice(["allocate", "prefer", "pre_start"])
        ways = {
            "allocate": ["usual", "error", "empty", "hang"],
            "prefer": ["usual", "error", "nothing", "nonsense", "too few", "too many", "hang"],
            "pre_start": ["usual", "error"],
        }
        way = self._dice.choice(ways[call])
        if way == "hang":
            self._hanging.add(plugin)
        return Step("behave", {"plugin": plugin, "call": call, "way": way})

    def _release(self) -> Step:
        plugin = self._any(self._hanging)
        self._hanging.discard(plugin)
        return Step("release", {"plugin": plugin})

    def _devices(self) -> list[Device]:
        kind = self._dice.choices(
            ["plain", "numa", "sick", "repeated", "empty", "huge", "too big"], [8, 5, 4, 3, 2, 1, 0.3]
        )[0]
        ids = self._dice.sample(_IDS, self._dice.randint(1, len(_IDS)))
        if kind == "empty":
            return []
        if kind == "huge":
            return [(f"d{number}", "Healthy", ()) for number in range(_HUGE)]
        if kind == "too big":
            return [("x" * _TOO_LONG, "Healthy", ())]
        if kind == "repeated":
            ids += self._dice.choices(ids, k=2)
        return [(name, self._health(kind), self._nodes(kind)) for name in ids]

    def _health(self, kind: str) -> str:
        odd = kind in {"sick", "repeated"} and self._dice.random() < 0.4
        return self._dice.choice(_ODD_HEALTH) if odd else "Healthy"

    def _nodes(self, kind: str) -> tuple[int, ...]:
        if kind != "numa":
            return ()
        return tuple(sorted(self._dice.sample(range(3), self._dice.choices([0, 1, 2], [1, 6, 1])[0])))

    # The kubelet.

    def _restart_kubelet(self) -> Step:
        self._bound.clear()
        self._hanging.clear()
        do = self._dice.choice(["stop", "crash", "restart"])
        self._running = do == "restart"
        return Step(do)

    def _start_kubelet(self) -> Step:
        self._running = True
        self._bound.clear()
        self._hanging.clear()
        return Step("start")

    # Pods.

    def _admit(self) -> Step:
        self._count += 1
        name = f"pod{self._count}"
        self._pods.append(name)
        if self._dice.random() < 0.15:
            requests = {"main": {A: self._dice.randint(1, 2), B: self._dice.randint(1, 2)}}
            if self._hanging:
                # A kubelet asks for resources in random order, and if one of them hangs, it does not ask for the other.
                del requests["main"][B]
        else:
            containers = self._dice.choices(["main", "side", "third"], k=self._dice.choice([1, 1, 1, 2, 3]))
            requests = {name: {self._dice.choice((A, B)): self._size()} for name in containers}
        return Step("admit", {"name": name, "requests": requests})

    def _size(self) -> int:
        return self._dice.choices([0, 1, 2, 3, 4, 6], [1, 8, 6, 3, 2, 1])[0]

    def _remove(self) -> Step:
        return Step("remove", {"name": self._pods.pop(self._dice.randrange(len(self._pods)))})

    def _start_container(self) -> Step:
        return Step("start_container", {"name": self._dice.choice(self._pods)})

    def _any(self, names: Any) -> str:  # noqa: ANN401 - any collection of names
        return self._dice.choice(sorted(names))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."
