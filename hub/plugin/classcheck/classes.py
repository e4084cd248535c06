"""Definite mistakes in a plugin's class, found without calling any of its methods.

`dphub check` reports them. If there are any, a plugin process logs them, and does not start.
"""

import inspect
from collections.abc import Collection, Iterator
from types import NoneType
from typing import NamedTuple

from hub.api.health import RecoveryPolicy, ResetRetryPolicy
from hub.api.plugin import MAX_RESET_TIMEOUT, Plugin
from hub.base.failures import short_repr
from hub.base.location import location_of_attribute, location_of_class
from hub.base.wording import close_names
from hub.plugin.classcheck.resets import reset_problem
from hub.plugin.classcheck.returns import wrong_return
from hub.plugin.classcheck.settings import settings_problems

_METHODS = tuple(name for name, method in vars(Plugin).items() if inspect.isfunction(method) and name[0] != "_")
_ATTRIBUTES = tuple(Plugin.__annotations__)
_CLOSE = 0.75
"""How similar two names have to be, from 0 to 1, for one to count as a misspelling of the other."""

_PREFIXES = ("on_", "get_", "do_", "list_")


class ClassCheck(NamedTuple):
    """The mistakes in a class, each with its file, its line, and what to do."""

    problems: tuple[str, ...]
    """What will certainly fail."""
    warnings: tuple[str, ...]
    """What is most likely a mistake, but otherwise harmless."""


def check_class(kind: type[Plugin]) -> ClassCheck:
    """Check a plugin's class."""
    methods = (*_missing_methods(kind), *_method_problems(kind))
    returns, doubtful = _wrong_returns(kind)
    problems = (*methods, *returns, *settings_problems(kind), *attribute_problems(kind))
    return ClassCheck(problems, (*_misspelled(kind), *doubtful))


def attribute_problems(plugin: Plugin | type[Plugin]) -> list[str]:
    """Return the invalid values among a plugin's attributes: those of the class, or those that its `__init__` set."""
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return [f"{location_of_attribute(kind, name)}: {problem}" for name, problem in _wrong_values(plugin)]


def instance_problems(plugin: Plugin) -> list[str]:
    """Return the mistakes that a plugin's `__init__` has made."""
    if vars(plugin).keys() >= {"settings", "host"}:
        return attribute_problems(plugin)
    location = location_of_attribute(type(plugin), "__init__")
    return [
        f"{location}: __init__() does not call the base class: begin with super().__init__(settings, host, runtime)"
    ]


def _wrong_values(plugin: Plugin | type[Plugin]) -> Iterator[tuple[str, str]]:
    known = {name: value for name in _TYPES if not _is_computed(value := getattr(plugin, name))}
    right = {name: value for name, value in known.items() if _fits(value, _TYPES[name][0])}
    for name, value in known.items():
        if name not in right:
            yield name, f"{name} is {short_repr(value)}, expected {_TYPES[name][1]}"
    reset, timeout = right.get("reset"), right.get("reset_timeout")
    if reset and (problem := reset_problem(reset)):
        yield "reset", problem
    if reset and timeout is not None and not 0 < timeout <= MAX_RESET_TIMEOUT:
        limit = f"more than 0 and at most {MAX_RESET_TIMEOUT:g} s, because the kubelet gives up after 30 s"
        yield "reset_timeout", f"reset_timeout is {timeout:g} s, expected {limit}"


def _is_computed(value: object) -> bool:
    """Return whether an attribute is a property, whose value only an instance has."""
    return hasattr(value, "__get__") and not callable(value)


def _fits(value: object, types: tuple[type, ...]) -> bool:
    """Return whether a value has one of these types. A string does not count as a list, nor a bool as a number."""
    return isinstance(value, types) and not any(isinstance(value, each) and each not in types for each in (bool, str))


def _missing_methods(kind: type[Plugin]) -> Iterator[str]:
    if kind.devices is Plugin.devices:
        example = "def devices(self): yield Device(...)"
        close = _closest("devices", _own_methods(kind))
        todo = f"rename {close}() at {location_of_attribute(kind, close)} to devices()" if close else f"write {example}"
        yield f"{location_of_class(kind)}: {kind.__name__} has no method devices(), which the hub calls: {todo}"


def _method_problems(kind: type[Plugin]) -> Iterator[str]:
    for name in ("__init__", *_METHODS):
        if getattr(kind, name) is not getattr(Plugin, name) and (problem := _method_problem(kind, name)):
            yield f"{location_of_attribute(kind, name)}: {problem}"


def _method_problem(kind: type[Plugin], name: str) -> str:
    method = inspect.getattr_static(kind, name)
    function = getattr(kind, name)
    parameters = list(inspect.signature(getattr(Plugin, name)).parameters)
    written = f"def {name}({', '.join(parameters)})"
    if isinstance(method, property) or not callable(function):
        return f"{name} is {_kind_of(method)}, expected a method: write {written}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"{name}() is async, and nothing awaits it: write {written}; it runs in a thread and may block"
    given = parameters[1:] if isinstance(method, (staticmethod, classmethod)) else parameters
    try:
        inspect.signature(function).bind(*given)
    except TypeError as error:
        return f"{name}() cannot be called as the hub calls it, {error}: write {written}"
    except ValueError:
        pass  # a function in C, whose parameters are unknown
    return ""


def _kind_of(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _wrong_returns(kind: type[Plugin]) -> tuple[list[str], list[str]]:
    """Return the methods that always return a wrong value, and those that may return one."""
    found: tuple[list[str], list[str]] = ([], [])
    for name in _METHODS:
        if getattr(kind, name) is not getattr(Plugin, name):
            returned = wrong_return(name, getattr(kind, name))
            if returned.problem:
                found[not returned.always].append(f"{location_of_attribute(kind, name)}: {returned.problem}")
    return found


def _misspelled(kind: type[Plugin]) -> Iterator[str]:
    """Yield the methods and attributes that the hub does not know, but whose names resemble known ones."""
    missing = [name for name in _METHODS if getattr(kind, name) is getattr(Plugin, name)]
    for name in _own_methods(kind):
        known = _alike(name, missing)
        never = f"{location_of_attribute(kind, name)}: the hub never calls {name}()"
        # The kubelet's call is named PreStartContainer.
        if "prestart" in name.replace("_", "").lower():
            yield f'{never}: name the function that resets a device: write reset = "module:function"'
        elif known and known != "devices":
            yield f"{never}; did you mean {known}()?"
    for name, value in _own(kind):
        close = _closest(name, _ATTRIBUTES)
        if close and not callable(value) and not hasattr(value, "__get__"):
            yield f"{location_of_attribute(kind, name)}: the hub never reads {name}; did you mean {close}?"


def _alike(name: str, known: Collection[str]) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return _closest(name, known)


def _closest(name: str, known: Collection[str]) -> str:
    return next(iter(close_names(name, known, _CLOSE)), "")


def _own(kind: type[Plugin]) -> list[tuple[str, object]]:
    """Return the public attributes of the author's classes that are not part of the contract."""
    theirs = [each for each in kind.__mro__ if issubclass(each, Plugin) and each is not Plugin]
    own = ((name, value) for each in theirs for name, value in vars(each).items())
    return [(name, value) for name, value in own if name[0] != "_" and name not in (*_METHODS, *_ATTRIBUTES)]


def _own_methods(kind: type[Plugin]) -> list[str]:
    return [name for name, value in _own(kind) if inspect.isfunction(value)]


_SECONDS = "a number of seconds, such as 10"

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "resource": ((str,), 'a string such as "example.com/name"'),
    "config_env": ((str,), "the name of an environment variable"),
    **dict.fromkeys(("scan_interval", "scan_timeout", "allocate_timeout", "prefer_timeout"), ((int, float), _SECONDS)),
    "reset": ((str,), 'a string, "module:function", since it runs in a process of its own'),
    "reset_when_released": ((bool,), "True or False"),
    "reset_timeout": ((int, float), _SECONDS),
    "max_reset_failures": ((int,), "a whole number"),
    **dict.fromkeys(
        ("reset_resources", "reset_clears_broken"), ((NoneType, Collection), "resource names, or None for all")
    ),
    "recovery": ((RecoveryPolicy,), "a hub.RecoveryPolicy"),
    "reset_retry": ((ResetRetryPolicy,), "a hub.ResetRetryPolicy"),
    "hint_kind": ((str,), 'a word such as "gpu"'),
    "notes": ((Collection,), "a list of sentences"),
}
"""The types of a plugin's attributes, and their descriptions."""
