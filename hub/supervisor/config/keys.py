"""The keys of circus.ini, and the values that each may have.

circus itself ignores unknown keys and accepts anything as a value. Here, each mistake is a ValueError that says what
was expected.
"""

import re
import resource
import signal
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from hub.supervisor.config.command import split_words

DRIVER_CHARACTERS = 63
"""The longest name of a DRA driver that Kubernetes allows."""


def add_value(values: dict[str, Any], key: str, text: str) -> None:
    """Add the value of a key to the values of a watcher section; limits are in `rlimits`, by name.

    Raises:
        ValueError: the key or its value is invalid.
    """
    _check_lines(text)
    if key.startswith(_RLIMIT):
        values.setdefault("rlimits", {})[key.removeprefix(_RLIMIT)] = _rlimit(key, text)
    elif key in FIXED:
        FIXED[key](text)
    elif key in KEYS:
        values[key] = KEYS[key](text)
    elif key.partition(".")[0] in _HUB_SETS:
        raise ValueError("the hub sets this; remove it")
    else:
        raise ValueError(f"unknown key, expected one of {', '.join(sorted(KEYS))}, {_RLIMIT}NAME")


def check_circus_key(key: str) -> None:
    """Check a key of the section [circus].

    Raises:
        ValueError: it is invalid.
    """
    if key in _HUB_SETS_CIRCUS:
        raise ValueError("the hub sets this; remove it")
    if key not in CIRCUS_KEYS:
        raise ValueError(f"unknown key, expected {' or '.join(CIRCUS_KEYS)}")


def _check_lines(text: str) -> None:
    """Check that a value does not include later keys by mistake: errors quote values, but must not quote variables.

    Raises:
        ValueError: an indented line, which continues the value, looks like a key or a section.
    """
    for line in text.split("\n")[1:]:
        if _SWALLOWED.match(line):
            raise ValueError("continues on indented lines, one of which looks like a key or section: do not indent it")


def _command(text: str) -> str:
    if not split_words(text):
        raise ValueError("empty, expected the command that runs the plugin")
    if variable := _VARIABLE.match(text):
        # A shell would set the variable. Here, it would be taken for the program, and an error would quote it.
        raise ValueError(f"sets {variable[1]}, expected the command that runs the plugin; variables belong in [env]")
    return text


def _arguments(text: str) -> str:
    split_words(text)
    return text


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError(f"{text!r} is not a boolean, expected true or false")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds, expected one such as 5 or 0.5")
    return value


def _watchdog(text: str) -> float:
    value = _seconds(text)
    if value and not _SHORTEST_WATCHDOG <= value <= _LONGEST_WATCHDOG:
        limits = f"{_SHORTEST_WATCHDOG:g} to {_LONGEST_WATCHDOG:g}"
        raise ValueError(f"{text!r} is not such a limit, expected {limits} seconds, or 0 for no watchdog")
    return value


def _signal(text: str) -> int:
    name = text.upper()
    try:
        return (
            signal.Signals(int(text))
            if text.isdigit()
            else signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        )
    except (ValueError, KeyError):
        raise ValueError(f"{text!r} is not a signal, expected one such as SIGTERM or 15") from None


class Api(StrEnum):
    """The values of `api`."""

    DEVICE_PLUGIN = "device-plugin"
    DRA = "dra"


def _api(text: str) -> str:
    if text not in tuple(Api):
        raise ValueError(f"{text!r} is not an API, expected {' or '.join(Api)}")
    return text


def _driver(text: str) -> str:
    if not _DRIVER.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a DRA driver, expected one such as gpu.example.com")
    return text


def _driver_domain(text: str) -> str:
    if not _DRIVER.fullmatch(text):
        raise ValueError(f"{text!r} is not a domain, expected one such as devices.example.com")
    return text


def _rlimit(key: str, text: str) -> int:
    """Return a limit for `resource.setrlimit`; an empty string means unlimited."""
    name = key.removeprefix(_RLIMIT)
    if not hasattr(resource, f"RLIMIT_{name.upper()}"):
        known = sorted(name.removeprefix("RLIMIT_").lower() for name in dir(resource) if name.startswith("RLIMIT_"))
        raise ValueError(f"unknown limit, expected one of {', '.join(_RLIMIT + name for name in known)}")
    return _integer(text) if text else resource.RLIM_INFINITY


def _one_process(text: str) -> None:
    if _integer(text) != 1:
        raise ValueError(f"is {text}, expected 1: a second process would take the resources from the first")


def _single(text: str) -> None:
    if not _boolean(text):
        raise ValueError("is false, expected true: a second process would take the resources from the first")


_SHORTEST_WATCHDOG, _LONGEST_WATCHDOG = 0.1, 86400.0

_VARIABLE = re.compile(r"\s*['\"]?([A-Za-z_]\w*)=")
_SWALLOWED = re.compile(r"\s*(\[|[A-Za-z_]\w*\s*(=|:\s))")
_BOOLEANS = dict.fromkeys(("yes", "true", "on", "1"), True) | dict.fromkeys(("no", "false", "off", "0"), False)
_RLIMIT = "rlimit_"
_DRIVER = re.compile(rf"(?=.{{1,{DRIVER_CHARACTERS}}}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
"""A DNS subdomain, as Kubernetes requires."""

KEYS: Mapping[str, Callable[[str], object]] = {
    "cmd": _command,
    "args": _arguments,
    "working_dir": str,
    "autostart": _boolean,
    "priority": _integer,
    "graceful_timeout": _seconds,
    "stop_signal": _signal,
    "watchdog": _watchdog,
    "api": _api,
    "driver": _driver,
    "driver_domain": _driver_domain,
    "evict": _boolean,
}

FIXED: Mapping[str, Callable[[str], None]] = {"numprocesses": _one_process, "singleton": _single}
"""Keys that circus users write by habit, and that allow only one value."""

_HUB_SETS = frozenset(
    {
        # A child's environment and streams are inherited, so that its logs are the hub's logs.
        *("close_child_stderr", "close_child_stdin", "close_child_stdout", "copy_env", "copy_path"),
        *("stderr_stream", "stdin_socket", "stdout_stream", "use_sockets"),
        # The hub decides when a process is started and stopped.
        *("check_flapping", "max_age", "max_age_variance", "max_retry", "on_demand", "respawn", "warmup_delay"),
        # Nothing may come between the hub and the plugin process: signals go to that process itself.
        *("executable", "send_hup", "shell", "shell_args", "stop_children", "virtualenv", "virtualenv_py_ver"),
        # A plugin runs as the hub's user, because it writes into the kubelet's directory and the hub's.
        *("gid", "uid"),
        # Third-party code could block the hub process.
        "hooks",
    }
)

CIRCUS_KEYS = ("include", "include_dir")

_HUB_SETS_CIRCUS = frozenset(
    {
        # The hub listens in the run directory, for its owner only.
        *("endpoint", "endpoint_owner", "fqdn_prefix", "multicast_endpoint", "pubsub_endpoint", "umask"),
        *("httpd", "httpd_host", "httpd_port", "stats_endpoint", "statsd"),
        # `dphub run` has options for logs, and a lock instead of a pid file.
        *("debug", "debug_gc", "loggerconfig", "loglevel", "logoutput", "pidfile"),
        *("check_delay", "warmup_delay"),
    }
)
