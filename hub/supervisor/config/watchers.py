"""What circus.ini says, checked wholly before anything is started.

circus itself takes what it does not know, turns some mistakes into a warning and drops the plugin. Here each mistake
is one error that names file, section and key.
"""

import re
import resource
import shlex
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hub.base.errors import ConfigError
from hub.supervisor.config.ini import Section, read_sections

CONFIG_NAME = "circus.ini"

HUB_PLUGIN = ["-m", "hub.plugin"]
"""What follows the interpreter in the command of a plugin that is written in Python."""


@dataclass(frozen=True)
class PluginConfig:
    """One `[watcher:NAME]` section: a plugin process that the hub keeps alive."""

    name: str
    """Also part of the name of its state file."""
    cmd: str
    """The command that runs it; there has to be one. `python` is the hub's own."""
    args: str | None = None
    """More words of the command."""
    working_dir: str | None = None
    """Where it runs; by default where the hub was started."""
    autostart: bool = True
    """Whether it starts with the hub, or only when an administrator starts it."""
    priority: int = 0
    """The higher, the earlier it is started."""
    graceful_timeout: float = 5.0
    """Seconds from the stop signal to SIGKILL. A plugin needs two; a pod has thirty before its kubelet kills it."""
    stop_signal: int = signal.SIGTERM
    """What asks it to stop."""
    watchdog: float = 30.0
    """Seconds after which a process that shows no life is killed and started anew; 0 for never."""
    rlimits: Mapping[str, int] = field(default_factory=dict)
    """From `rlimit_NAME`: any limit that `man 2 setrlimit` knows, in small letters; an empty one is none."""
    env: Mapping[str, str] = field(default_factory=dict)
    """From `[env]` and the `[env:NAMES]` that match; the hub's own environment is inherited besides."""

    @property
    def is_hub_plugin(self) -> bool:
        """Whether the hub's own plugin process runs it, and not some other program."""
        return shlex.split(f"{self.cmd} {self.args or ''}")[1:3] == HUB_PLUGIN


def shipped_config() -> Path:
    """The circus.ini that comes with the hub: inside the package where installed, at the top of a checkout."""
    package = Path(__file__).parents[2]
    installed = package / CONFIG_NAME
    return installed if installed.is_file() else package.parent / CONFIG_NAME


def default_config() -> Path:
    """The configuration of a hub that was not told one: circus.ini where it was started, else the shipped one."""
    local = Path(CONFIG_NAME)
    return local if local.exists() else shipped_config()


def read_config(path: Path) -> list[PluginConfig]:
    """The plugins that a circus.ini lists.

    Raises:
        ConfigError: the first mistake found.
    """
    plugins: dict[str, tuple[Section, PluginConfig]] = {}
    environments: list[Section] = []
    for section in read_sections(path):
        kind, colon, name = section.name.partition(":")
        if kind == "watcher" and colon:
            plugin = plugin_from_section(section, name)
            first, _ = plugins.setdefault(name.lower(), (section, plugin))
            if first is not section:
                raise section.error(f"[{first.name}] has the same name; circusctl knows no upper and lower case")
        elif kind == "env":
            environments.append(section)
        elif section.name == "circus":
            _check_circus(section)
        else:
            raise section.error("unknown section, expected [watcher:NAME], [env], [env:NAMES] or [circus]")
    if not plugins:
        raise ConfigError(path, "has no [watcher:NAME] section, expected one for each plugin")
    return [_with_environment(plugin, environments) for _, plugin in plugins.values()]


def plugin_from_section(section: Section, name: str) -> PluginConfig:
    """What one watcher section says.

    Raises:
        ConfigError: its name or one of its keys cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise section.error("a plugin's name is made of letters, digits, `_`, `.` and `-`, 63 at most")
    values: dict[str, Any] = {"name": name, "rlimits": {}}
    for key, text in section.items.items():
        try:
            if key.startswith(_RLIMIT):
                values["rlimits"][key.removeprefix(_RLIMIT)] = _rlimit(key, text)
            elif key in _FIXED:
                _FIXED[key](text)
            else:
                values[key] = _converter(key)(text)
        except ValueError as error:
            raise section.error(str(error), key) from None
    if "cmd" not in values:
        raise section.error("is missing, expected the command that runs the plugin", "cmd")
    plugin = PluginConfig(**values)
    flags = {word.partition("=")[0] for word in shlex.split(f"{plugin.cmd} {plugin.args or ''}")}
    if plugin.is_hub_plugin and (ours := sorted(flags & _HUB_FLAGS)):
        raise section.error(f"{ours[0]}: the hub sets this, take it out", "cmd")
    return plugin


def _with_environment(plugin: PluginConfig, sections: list[Section]) -> PluginConfig:
    """The plugin with the variables of `[env]`, and over them those of the `[env:NAMES]` that match its name."""
    env: dict[str, str] = {}
    for section in sorted(sections, key=lambda section: section.name != "env"):
        names = section.name.partition(":")[2] or "*"
        if any(fnmatchcase(plugin.name, pattern.strip()) for pattern in names.split(",")):
            env.update(section.items)
    return replace(plugin, env=env)


def _check_circus(section: Section) -> None:
    for key in section.items:
        if key in _HUB_SETS_CIRCUS:
            raise section.error("the hub sets this, take it out", key)
        if key not in _CIRCUS:
            raise section.error(f"unknown key, expected {' or '.join(_CIRCUS)}", key)


def _converter(key: str) -> Callable[[str], object]:
    if key in _KEYS:
        return _KEYS[key]
    if key.partition(".")[0] in _HUB_SETS:
        raise ValueError("the hub sets this, take it out")
    raise ValueError(f"unknown key, expected one of {', '.join(sorted(_KEYS))}, {_RLIMIT}NAME")


def _command(text: str) -> str:
    if not _words(text):
        raise ValueError("is empty, expected the command that runs the plugin")
    return text


def _words(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no command line: {error}") from None
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
        raise ValueError(f"{text!r} is no signal, expected one such as SIGTERM or 15") from None


def _rlimit(key: str, text: str) -> int:
    """A limit as `resource.setrlimit` takes it; an empty one is none."""
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
"""Keys that circus users write from habit, and that have one right value."""

_HUB_FLAGS = {"--name", "--plugin-dir", "--run-dir"}
"""What a plugin process is told by the hub that looks after it."""

_HUB_SETS = frozenset(
    {
        # A child's environment and streams: inherited, so that its logs are the hub's logs.
        *("close_child_stderr", "close_child_stdin", "close_child_stdout", "copy_env", "copy_path"),
        *("stderr_stream", "stdin_socket", "stdout_stream", "use_sockets"),
        # When it is started and ended.
        *("check_flapping", "max_age", "max_age_variance", "max_retry", "on_demand", "respawn", "warmup_delay"),
        # What would come between the hub and the plugin process: signals go to that process itself.
        *("executable", "send_hup", "shell", "shell_args", "stop_children", "virtualenv", "virtualenv_py_ver"),
        # As whom it runs: as the hub does, for it writes into the kubelet's directory and into the hub's.
        *("gid", "uid"),
        # Code of others inside the hub process, which never blocks.
        "hooks",
    }
)

_CIRCUS = ("include", "include_dir")

_HUB_SETS_CIRCUS = frozenset(
    {
        # Who may talk to the hub, and where: the owner of the run directory, in the run directory.
        *("endpoint", "endpoint_owner", "fqdn_prefix", "multicast_endpoint", "pubsub_endpoint", "umask"),
        *("httpd", "httpd_host", "httpd_port", "stats_endpoint", "statsd"),
        # `dphub run` has options for logs, and a lock instead of a file with its process id.
        *("debug", "debug_gc", "loggerconfig", "loglevel", "logoutput", "pidfile"),
        *("check_delay", "warmup_delay"),
    }
)
