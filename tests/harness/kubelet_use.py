"""Detection of tests that use a kubelet: their code or fixtures refer to `FakeKubelet`, directly or indirectly.

This follows from the code, so a test needs no marker. Code that is imported inside a function is not detected, nor is
code that could only be found through the type of a value. So a test that starts a kubelet without being detected
fails, even with the fake kubelet (`Starts`).
"""

import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness.node import Node

_PACKAGES = ("tests.", "benchmarks.", "hub.testing.")
"""The packages whose code may start a kubelet."""


class Starts:
    """A record of whether the current test has started a kubelet."""

    def __init__(self) -> None:
        self._noted = False

    def watch(self, kubelet: type[FakeKubelet]) -> None:
        """Record all starts of this type of kubelet."""
        process_type, starts = kubelet.process_type, self

        class Watched(process_type):
            async def start(self) -> None:
                starts._noted = True
                await super().start()

        kubelet.process_type = Watched

    def pop(self) -> bool:
        """Return whether a kubelet has started since the last call."""
        noted, self._noted = self._noted, False
        return noted


def has_kubelet(item: pytest.Item) -> bool:
    """Return whether the test can start a kubelet in its own process."""
    if not isinstance(item, pytest.Function):
        return False
    # The last fixture of a name hides the others.
    fixtures = [found[-1].func for found in item._fixtureinfo.name2fixturedefs.values()]
    return _leads_to_kubelet([item.function, *fixtures])


def _leads_to_kubelet(waiting: list[Any]) -> bool:
    seen = set(_START_NONE)
    while waiting:
        thing = inspect.unwrap(waiting.pop())
        if thing is FakeKubelet:
            return True
        if isinstance(thing, FunctionType | type) and thing not in seen and thing.__module__.startswith(_PACKAGES):
            seen.add(thing)
            waiting += _leads_to(thing)
    return False


_START_NONE = (_leads_to_kubelet, Node)
"""Code that names `FakeKubelet` without starting one; the kubelet of a `Node` is started by the fixture `kubelet`."""


@cache
def _leads_to(thing: FunctionType | type) -> Sequence[Any]:
    """Return what a function or class refers to; cached, since nearly all tests use the same functions and classes."""
    return tuple(_parts(thing) if isinstance(thing, type) else _used(thing))


def _parts(of: type) -> Iterator[Any]:
    yield from of.__bases__
    for part in vars(of).values():
        yield part.fget if isinstance(part, property) else getattr(part, "__func__", part)


def _used(by: FunctionType) -> Iterator[Any]:
    """Yield what a function refers to: globals, parts of modules, and variables of the functions that enclose it."""
    names = [name for code in _nested(by.__code__) for name in code.co_names]
    found = [by.__globals__[name] for name in names if name in by.__globals__]
    yield from found
    for module in found:
        if isinstance(module, ModuleType):
            yield from (vars(module)[name] for name in names if name in vars(module))
    yield from inspect.getclosurevars(by).nonlocals.values()


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _nested(part)
