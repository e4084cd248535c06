"""The plugins in circus.ini, checked completely before any of them is started.

circus itself accepts unknown keys, and for some mistakes only logs a warning and drops the plugin. Here, each mistake
is an error that names the file, the section and the key.
"""

import re
import signal
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hub.base.errors import ConfigError
from hub.base.interpreter import inherited_environment
from hub.base.trust import check_own
from hub.supervisor.config.command import command_words, plugin_arguments
from hub.supervisor.config.ini import Section, read_sections
from hub.supervisor.config.keys import DRIVER_CHARACTERS, Api, add_value, check_circus_key

CONFIG_NAME = "circus.ini"

DRIVER_DOMAIN = "dphub.dev"
"""The domain of the drivers whose name is not configured."""

MAX_PLUGINS = 250
"""Maximum number of plugins: more than any node has kinds of hardware."""

MAX_PATTERNS = 250
"""Maximum number of names in all sections `[env:NAMES]`: each is compared with each plugin."""

MAX_PATTERN_CHARACTERS = 200
"""Maximum length of each of them; the name of a plugin has at most 63 characters."""

MAX_VARIABLES_CHARACTERS = 1 << 16
"""Maximum length of all variables of a plugin together."""


@dataclass(frozen=True)
class PluginConfig:
    """One `[watcher:NAME]` section: a plugin process that the hub keeps alive."""

    name: str
    """The name of the plugin; also used in its file names."""
    cmd: str
    """The command that runs the plugin. `python` is the hub's own interpreter, and `$(circus.env.NAME)` is replaced by
    the variable NAME of `[env]` or of the hub."""
    args: str | None = None
    """Additional arguments for the command."""
    working_dir: str = ""
    """The working directory; `python -m hub.plugin` does not look for modules in it. By default, it is the directory
    that contains circus.ini; a relative path is relative to that directory."""
    autostart: bool = True
    """Whether it starts with the hub, or only when an administrator starts it."""
    priority: int = 0
    """Plugins with a higher priority start earlier."""
    graceful_timeout: float = 5.0
    """Seconds from the stop signal to SIGKILL. A plugin may need four seconds; the kubelet kills a pod after thirty."""
    stop_signal: int = signal.SIGTERM
    """The signal that asks it to stop."""
    watchdog: float = 30.0
    """Seconds without a heartbeat after which the process is killed and restarted; 0 disables the watchdog."""
    api: str = Api.DEVICE_PLUGIN
    """The API through which the kubelet gives its devices to containers: `device-plugin`, or `dra` for dynamic resource
    allocation, which needs the DRA process."""
    driver: str = ""
    """The name of its DRA driver; by default the plugin's name in `driver_domain`, such as `gpu.dphub.dev`."""
    driver_domain: str = DRIVER_DOMAIN
    """The domain of its DRA driver, by default `dphub.dev`; use the same domain for all plugins."""
    evict: bool = False
    """With `dra`: whether pods are deleted from the node, without regard to disruption budgets, if a device of theirs
    fails. The taint of the device then has the effect `NoExecute`."""
    rlimits: Mapping[str, int] = field(default_factory=dict)
    """From `rlimit_NAME`: any limit of `man 2 setrlimit`, in lower case; an empty value means unlimited."""
    env: Mapping[str, str] = field(default_factory=dict)
    """From `[env]` and the matching `[env:NAMES]`; added to the hub's own environment."""
    command: Sequence[str] = ()
    """The words of `cmd` and `args`, with their variables replaced."""

    @property
    def is_hub_plugin(self) -> bool:
        """Whether it is a plugin process of the hub, and not another program."""
        return self._arguments is not None

    @property
    def target(self) -> str:
        """The plugin's class, as MODULE:CLASS; empty if it is not a plugin process of the hub, or has none."""
        return next(
            (word for word in self._arguments or () if word.rpartition(":")[2].isidentifier() and ":" in word), ""
        )

    @property
    def dra_driver(self) -> str:
        """The name of its DRA driver; empty if it serves the device plugin API."""
        if self.api != Api.DRA or not self.is_hub_plugin:
            return ""
        return self.driver or f"{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}.{self.driver_domain}"

    @property
    def _arguments(self) -> Sequence[str] | None:
        return plugin_arguments(self.command)


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
    watchers: dict[str, Section] = {}
    environments: list[Section] = []
    for section in read_sections(path):
        kind, colon, name = section.name.partition(":")
        if kind == "watcher" and colon:
            first = watchers.setdefault(name.lower(), section)
            if first is not section:
                raise section.error(f"[{first.name}] has the same name; circusctl ignores case")
        elif kind == "env":
            environments.append(section)
        elif section.name == "circus":
            _check_circus(section)
        else:
            raise section.error("unknown section, expected [watcher:NAME], [env], [env:NAMES] or [circus]")
    _check_counts(path, watchers, environments)
    variables = _variables(environments)
    directory = path.absolute().parent
    plugins = [(section, _plugin(section, directory, variables)) for section in watchers.values()]
    _check_drivers(plugins)
    return [plugin for _, plugin in plugins]


def _plugin(section: Section, directory: Path, variables: Iterable["_Variables"]) -> PluginConfig:
    name = section.name.partition(":")[2]
    env: dict[str, str] = {}
    for patterns, values in variables:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            env.update(values)
    size = sum(len(variable) + len(value) for variable, value in env.items())
    if size > MAX_VARIABLES_CHARACTERS:
        problem = f"its variables in [env] have {size} characters, expected at most {MAX_VARIABLES_CHARACTERS}"
        raise section.error(problem)
    return plugin_from_section(section, name, directory, env)


def _check_counts(path: Path, watchers: Sized, environments: Iterable[Section]) -> None:
    """Check that there are plugins, but not too many, and not too many names to compare with theirs.

    Raises:
        ConfigError: there are.
    """
    if not watchers:
        raise ConfigError(path, "no [watcher:NAME] section, expected one for each plugin")
    if len(watchers) > MAX_PLUGINS:
        raise ConfigError(path, f"{len(watchers)} [watcher:NAME] sections, expected at most {MAX_PLUGINS}")
    patterns = [pattern for section in environments for pattern in _patterns(section)]
    if len(patterns) > MAX_PATTERNS:
        raise ConfigError(path, f"[env:NAMES] sections have {len(patterns)} names, expected at most {MAX_PATTERNS}")
    longest = max(map(len, patterns), default=0)
    if longest > MAX_PATTERN_CHARACTERS:
        problem = f"a name in an [env:NAMES] section has {longest} characters"
        raise ConfigError(path, f"{problem}, expected at most {MAX_PATTERN_CHARACTERS}")


def _patterns(section: Section) -> list[str]:
    """Return the names and patterns of the plugins to which a section with variables applies."""
    return [name.strip() for name in (section.name.partition(":")[2] or "*").split(",")]


class _Variables(NamedTuple):
    """The variables of a section."""

    patterns: Sequence[str]
    """The names of the plugins to which they apply."""
    values: Mapping[str, str]


def _variables(sections: Iterable[Section]) -> list[_Variables]:
    """Return the variables of `[env]`, and then those of each `[env:NAMES]`, which override them.

    In their values, `$NAME` is replaced by the hub's own variable of that name.
    """
    own = inherited_environment()
    return [
        _Variables(
            _patterns(section),
            {
                name: _REFERENCE.sub(lambda found: own.get(found[1], ""), value).strip()
                for name, value in section.items.items()
            },
        )
        for section in sorted(sections, key=lambda section: section.name != "env")
    ]


def _check_drivers(plugins: Iterable[tuple[Section, PluginConfig]]) -> None:
    """Check that each DRA driver has only one plugin: if it had two, the kubelet could call either of them.

    Raises:
        ConfigError: two plugins have the same driver.
    """
    found: dict[str, str] = {}
    for section, plugin in plugins:
        if driver := plugin.dra_driver:
            if other := found.get(driver):
                raise section.error(f"{driver} is also the driver of [{other}]: set another name", "driver")
            found[driver] = section.name


def plugin_from_section(
    section: Section, name: str, directory: Path, env: Mapping[str, str] = MappingProxyType({})
) -> PluginConfig:
    """Return the plugin of one watcher section.

    Args:
        section: The section.
        name: The plugin's name.
        directory: The directory of circus.ini. The hub's working directory has no effect.
        env: The variables of circus.ini for the plugin.

    Raises:
        ConfigError: its name or one of its keys is invalid.
    """
    if not _NAME.fullmatch(name):
        raise section.error("invalid plugin name, expected at most 63 letters, digits, `_`, `.` and `-`")
    values: dict[str, Any] = {"name": name}
    for key, text in section.items.items():
        try:
            add_value(values, key, text)
        except ValueError as error:
            raise section.error(str(error), key) from None
    if "cmd" not in values:
        raise section.error("missing, expected the command that runs the plugin", "cmd")
    values["working_dir"] = str(directory / values.get("working_dir", ""))
    try:
        command = command_words(values["cmd"], values.get("args", ""), inherited_environment() | dict(env))
    except ValueError as error:
        raise section.error(str(error), "cmd") from None
    plugin = PluginConfig(**values, env=env, command=command)
    _check_driver(section, plugin)
    return plugin


def _check_driver(section: Section, plugin: PluginConfig) -> None:
    """Check the name of the DRA driver, which depends on several keys.

    Raises:
        ConfigError: the driver has two names, or one that Kubernetes rejects.
    """
    if plugin.driver and "driver_domain" in section.items:
        raise section.error("the key driver has the whole name; remove one of the two", "driver_domain")
    if len(driver := plugin.dra_driver) > DRIVER_CHARACTERS:
        problem = f"{driver} has {len(driver)} characters, expected at most {DRIVER_CHARACTERS}: set a shorter name"
        raise section.error(problem, "driver")


def _check_circus(section: Section) -> None:
    for key in section.items:
        try:
            check_circus_key(key)
        except ValueError as error:
            raise section.error(str(error), key) from None


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_REFERENCE = re.compile(r"\$([A-Z]+[A-Z0-9_]*)")
