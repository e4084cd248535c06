"""The plugins in circus.ini, checked completely before any of them is started.

circus itself accepts unknown keys, and for some mistakes only logs a warning and drops the plugin. Here, each mistake
is an error that names the file, the section and the key.
"""

import re
import shlex
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import dropwhile
from pathlib import Path
from typing import Any

from hub.base.errors import ConfigError
from hub.base.trust import check_own
from hub.base.untrusted import is_there
from hub.supervisor.config.ini import Section, read_sections
from hub.supervisor.config.keys import DRIVER_CHARACTERS, Api, add_value, check_circus_key

CONFIG_NAME = "circus.ini"

DRIVER_DOMAIN = "dphub.dev"
"""The domain of the drivers whose name is not configured."""

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
    """The command that runs the plugin. `python` is the hub's own interpreter."""
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
        return plugin_arguments(shlex.split(f"{self.cmd} {self.args or ''}"))


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
    _check_drivers(plugins.values())
    return [_with_environment(plugin, environments) for _, plugin in plugins.values()]


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


def plugin_from_section(section: Section, name: str, directory: Path) -> PluginConfig:
    """Return the plugin of one watcher section.

    Args:
        section: The section.
        name: The plugin's name.
        directory: The directory of circus.ini. The hub's working directory has no effect.

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
    plugin = PluginConfig(**values)
    words = shlex.split(f"{plugin.cmd} {plugin.args or ''}")
    if _are_quoted_together(words):
        raise section.error("several words in one pair of quotes; quote each argument separately", "cmd")
    flags = {word.partition("=")[0] for word in words}
    if plugin.is_hub_plugin and (ours := sorted(flags & _HUB_FLAGS)):
        raise section.error(f"{ours[0]}: the hub sets this; remove it", "cmd")
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


def _are_quoted_together(words: Sequence[str]) -> bool:
    """Return whether a program or an argument is certainly followed by others within the same quotes.

    An error about a missing program, plugin or file would quote all of them, and one may be a password.
    """
    if re.search(r"\s", words[0]) and not is_there(Path(words[0])):
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
        try:
            check_circus_key(key)
        except ValueError as error:
            raise section.error(str(error), key) from None


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_HUB_FLAGS = {"--check", "--hardware", "--name", "--plugin-dir", "--run-dir", "--scan", "--shipped-only"}
"""Flags that the hub itself passes to its plugin processes, some of them through variables."""
