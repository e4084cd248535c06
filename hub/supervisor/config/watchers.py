"""The plugins in circus.ini, checked completely before any of them is started.

circus itself accepts unknown keys, and turns some mistakes into a warning and drops the plugin. Here each mistake is an
error that names the file, the section and the key.
"""

import re
import resource
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import dropwhile
from pathlib import Path
from typing import Any

from hub.base.errors import ConfigError
from hub.base.trust import check_own
from hub.supervisor.config.ini import Section, read_sections

CONFIG_NAME = "circus.ini"

SAFE_PATH = "-P"
"""The interpreter's option not to import anything from the working directory."""

_MODULE = "-m"
_HUB_PLUGIN = [_MODULE, "hub.plugin"]


@dataclass(frozen=True)
class PluginConfig:
    """One `[watcher:NAME]` section: a plugin process that the hub keeps alive."""

    name: str
    """The name of the plugin; also used in its file names."""
    cmd: str
    """The command that runs it. `python` is the hub's own interpreter."""
    args: str | None = None
    """Additional arguments for the command."""
    working_dir: str = ""
    """The working directory; by default that of circus.ini, to which it is relative. `python -m hub.plugin`
    does not look for modules there."""
    autostart: bool = True
    """Whether it starts with the hub, or only when an administrator starts it."""
    priority: int = 0
    """Plugins with a higher priority start earlier."""
    graceful_timeout: float = 5.0
    """Seconds from the stop signal to SIGKILL. A plugin needs two seconds; the kubelet kills a pod after thirty."""
    stop_signal: int = signal.SIGTERM
    """The signal that asks it to stop."""
    watchdog: float = 30.0
    """Seconds without a heartbeat after which the process is killed and restarted; 0 disables the watchdog."""
    rlimits: Mapping[str, int] = field(default_factory=dict)
    """From `rlimit_NAME`: any limit of `man 2 setrlimit`, in lower case; an empty value means unlimited."""
    env: Mapping[str, str] = field(default_factory=dict)
    """From `[env]` and the matching `[env:NAMES]`; added to the hub's own environment."""

    @property
    def is_hub_plugin(self) -> bool:
        """Whether it is a plugin process of the hub, and not another program."""
        return plugin_arguments(shlex.split(f"{self.cmd} {self.args or ''}")) is not None


def plugin_arguments(words: Sequence[str]) -> Sequence[str] | None:
    """Return the arguments of `python -m hub.plugin` in a command; None if it is another program.

    The interpreter may have any name, and options such as `-u`, each in one word.
    """
    module = list(dropwhile(lambda word: word.startswith("-") and word != _MODULE, words[1:]))
    return module[2:] if module[:2] == _HUB_PLUGIN else None


def shipped_config() -> Path:
    """Return the circus.ini that comes with the hub: in the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[2]
    installed = package / CONFIG_NAME
    return installed if installed.is_file() else package.parent / CONFIG_NAME


def default_config() -> Path:
    """Return the default configuration: circus.ini in the working directory, or else the shipped one.

    Raises:
        ConfigError: the one in the working directory belongs to another user.
    """
    local = Path(CONFIG_NAME)
    if not local.exists():
        return shipped_config()
    check_own(local, "name it on the command line if you trust that user")
    return local


def read_config(path: Path) -> list[PluginConfig]:
    """Return the plugins in a circus.ini.

    Raises:
        ConfigError: the file has a mistake; only the first one is reported.
    """
    plugins: dict[str, tuple[Section, PluginConfig]] = {}
    environments: list[Section] = []
    for section in read_sections(path):
        kind, colon, name = section.name.partition(":")
        if kind == "watcher" and colon:
            plugin = plugin_from_section(section, name, path.absolute().parent)
            first, _ = plugins.setdefault(name.lower(), (section, plugin))
            if first is not section:
                raise section.error(f"[{first.name}] has the same name; circusctl ignores case")
        elif kind == "env":
            environments.append(section)
        elif section.name == "circus":
            _check_circus(section)
        else:
            raise section.error("unknown section, expected [watcher:NAME], [env], [env:NAMES] or [circus]")
    if not plugins:
        raise ConfigError(path, "no [watcher:NAME] section, expected one for each plugin")
    return [_with_environment(plugin, environments) for _, plugin in plugins.values()]


def plugin_from_section(section: Section, name: str, directory: Path) -> PluginConfig:
    """Return the plugin of one watcher section.

    Args:
        section: The section.
        name: The plugin's name.
        directory: The directory of circus.ini. The one in which the hub was started has no effect.

    Raises:
        ConfigError: its name or one of its keys is invalid.
    """
    if not _NAME.fullmatch(name):
        raise section.error("invalid plugin name, expected at most 63 letters, digits, `_`, `.` and `-`")
    values: dict[str, Any] = {"name": name, "rlimits": {}}
    for key, text in section.items.items():
        try:
            _check_lines(text)
            if key.startswith(_RLIMIT):
                values["rlimits"][key.removeprefix(_RLIMIT)] = _rlimit(key, text)
            elif key in _FIXED:
                _FIXED[key](text)
            else:
                values[key] = _converter(key)(text)
        except ValueError as error:
            raise section.error(str(error), key) from None
    if "cmd" not in values:
        raise section.error("missing, expected the command that runs the plugin", "cmd")
    values["working_dir"] = str(directory / values.get("working_dir", ""))
    plugin = PluginConfig(**values)
    words = shlex.split(f"{plugin.cmd} {plugin.args or ''}")
    if _are_quoted_together(words):
        raise section.error("several words in one pair of quotes; quote each argument separately", "cmd")
    flags = {word.partition("=")[0] for word in words}
    if plugin.is_hub_plugin and (ours := sorted(flags & _HUB_FLAGS)):
        raise section.error(f"{ours[0]}: the hub sets this, remove it", "cmd")
    return plugin


def _are_quoted_together(words: Sequence[str]) -> bool:
    """Whether a program or an argument certainly has others behind it, in the same quotes.

    The error that there is no such program, plugin or file would name all of it, and that may be a password.
    """
    if re.search(r"\s", words[0]) and not Path(words[0]).is_file():
        return True
    return any(re.search(r"\s-", argument) for argument in plugin_arguments(words) or ())


def _with_environment(plugin: PluginConfig, sections: list[Section]) -> PluginConfig:
    """Return the plugin with the variables of `[env]`, overridden by those of `[env:NAMES]` that match its name."""
    env: dict[str, str] = {}
    for section in sorted(sections, key=lambda section: section.name != "env"):
        names = section.name.partition(":")[2] or "*"
        if any(fnmatchcase(plugin.name, pattern.strip()) for pattern in names.split(",")):
            env.update(section.items)
    return replace(plugin, env=env)


def _check_circus(section: Section) -> None:
    for key in section.items:
        if key in _HUB_SETS_CIRCUS:
            raise section.error("the hub sets this, remove it", key)
        if key not in _CIRCUS:
            raise section.error(f"unknown key, expected {' or '.join(_CIRCUS)}", key)


def _converter(key: str) -> Callable[[str], object]:
    if key in _KEYS:
        return _KEYS[key]
    if key.partition(".")[0] in _HUB_SETS:
        raise ValueError("the hub sets this, remove it")
    raise ValueError(f"unknown key, expected one of {', '.join(sorted(_KEYS))}, {_RLIMIT}NAME")


def _check_lines(text: str) -> None:
    """Check that a value has not swallowed the lines after it. Errors quote values, but not those of variables.

    Raises:
        ValueError: an indented line, which continues the value, looks like a key or a section.
    """
    for line in text.split("\n")[1:]:
        if _SWALLOWED.match(line):
            raise ValueError("continues on indented lines, one of which looks like a key or section: do not indent it")


def _command(text: str) -> str:
    if not _words(text):
        raise ValueError("empty, expected the command that runs the plugin")
    if variable := _VARIABLE.match(text):
        # A shell would set it. Here it would be the program, and named in the error that there is none.
        raise ValueError(f"sets {variable[1]}, expected the command that runs the plugin; variables belong in [env]")
    return text


def _words(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(f"not a command line: {error}") from None
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


_VARIABLE = re.compile(r"\s*['\"]?([A-Za-z_]\w*)=")
_SWALLOWED = re.compile(r"\s*(\[|[A-Za-z_]\w*\s*(=|:\s))")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_BOOLEANS = dict.fromkeys(("yes", "true", "on", "1"), True) | dict.fromkeys(("no", "false", "off", "0"), False)
_RLIMIT = "rlimit_"

_KEYS: Mapping[str, Callable[[str], object]] = {
    "cmd": _command,
    "args": _words,
    "working_dir": str,
    "autostart": _boolean,
    "priority": _integer,
    "graceful_timeout": _seconds,
    "stop_signal": _signal,
    "watchdog": _seconds,
}

_FIXED: Mapping[str, Callable[[str], None]] = {"numprocesses": _one_process, "singleton": _single}
"""Keys that circus users write by habit, and that allow one value only."""

_HUB_FLAGS = {"--check", "--name", "--plugin-dir", "--run-dir", "--scan", "--shipped-only"}
"""Flags that the hub itself passes to its plugin processes, to some of them through variables."""

_HUB_SETS = frozenset(
    {
        # A child's environment and streams are inherited, so that its logs are the hub's logs.
        *("close_child_stderr", "close_child_stdin", "close_child_stdout", "copy_env", "copy_path"),
        *("stderr_stream", "stdin_socket", "stdout_stream", "use_sockets"),
        # The hub decides when a process is started and stopped.
        *("check_flapping", "max_age", "max_age_variance", "max_retry", "on_demand", "respawn", "warmup_delay"),
        # Nothing may come between the hub and the plugin process: signals go to that process itself.
        *("executable", "send_hup", "shell", "shell_args", "stop_children", "virtualenv", "virtualenv_py_ver"),
        # It runs as the hub's user, because it writes into the kubelet's directory and the hub's.
        *("gid", "uid"),
        # Third-party code could block the hub process.
        "hooks",
    }
)

_CIRCUS = ("include", "include_dir")

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
