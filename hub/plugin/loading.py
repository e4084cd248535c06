"""Loads a plugin's class and its settings from user-supplied names."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from hub.api.host import Host
from hub.api.plugin import Plugin
from hub.api.runtime import Runtime
from hub.api.settings import convert, read_settings
from hub.base.errors import ConfigError, HubError
from hub.base.failures import explain
from hub.base.location import location_of_class, location_of_error
from hub.base.sourceonly import SourceLoader, import_source_from
from hub.base.trust import check_trusted
from hub.base.untrusted import is_there, read_config_text
from hub.plugin.classcheck.classes import check_class, instance_problems
from hub.plugin.classcheck.settings import settings_type

_SHIPPED = "plugins"
"""The package of the plugins that come with the hub."""

_FILE = ".py"
"""The end of a module name that is the path of a file."""


def load_plugin(target: str) -> type[Plugin]:
    """Return the class that "MODULE:CLASS" names, where MODULE is importable or the path of a Python file.

    Modules next to such a file can be imported from then on.

    Raises:
        HubError: there is no such module or class, or it is not a plugin.
    """
    module_name, _, class_name = target.rpartition(":")
    is_file = module_name.endswith(_FILE)
    if not class_name.isidentifier() or not (is_file or all(part.isidentifier() for part in module_name.split("."))):
        raise HubError(f'plugin "{target}": expected MODULE:CLASS, for example plugins.stub:Stub')
    try:
        return _import_plugin(target, module_name, class_name)
    except ModuleNotFoundError as error:
        raise HubError(f'plugin "{target}": {_missing(module_name, error)}') from error
    except SyntaxError as error:
        raise HubError(f'plugin "{target}": {error.filename}: line {error.lineno}: {error.msg}') from None
    except HubError:
        raise
    except (Exception, SystemExit) as error:
        raise HubError(f'plugin "{target}": its module cannot be imported: {explain(error)}') from error


def is_shipped(target: str) -> bool:
    """Return whether "MODULE:CLASS" names a plugin that comes with the hub."""
    module = target.rpartition(":")[0]
    return module.split(".")[0] == _SHIPPED and not module.endswith(_FILE)


class PluginMistakes(HubError):
    """The mistakes in a plugin and its configuration.

    Args:
        problems: All of them, each with its file and its location in that file.
        warnings: Further likely mistakes.
    """

    def __init__(self, problems: Iterable[str], warnings: tuple[str, ...]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        self.warnings = warnings
        super().__init__("; ".join(self.problems))


def make_plugin(
    kind: type[Plugin], config: Path | None, host: Host, runtime: Runtime
) -> tuple[Plugin, tuple[str, ...]]:
    """Create a plugin; return it with the likely mistakes in its class.

    Raises:
        PluginMistakes: the plugin would certainly fail.
    """
    found = check_class(kind)
    problems = list(found.problems)
    try:
        settings = load_settings(kind, config)
    except HubError as error:
        problems.append(str(error))
    if not problems:
        plugin = kind(settings, host, runtime)
        problems = instance_problems(plugin)
    if problems:
        raise PluginMistakes(problems, found.warnings)
    return plugin, found.warnings


def load_settings(plugin: type[Plugin], path: Path | None) -> Any:  # noqa: ANN401 - the type that the plugin declares
    """Read the plugin's settings from a YAML or JSON file, or return their defaults if there is no file.

    Without a path, the plugin's `config_env` may name one.

    Raises:
        ConfigError: the file cannot be read, or has a setting that the plugin does not know.
    """
    path = settings_path(plugin, path)
    if path:
        check_trusted(path)
    return read_settings(path, settings_type(plugin)) if path else default_settings(plugin)


def default_settings(plugin: type[Plugin]) -> Any:  # noqa: ANN401 - as above
    """Return the settings of a plugin without a configuration file.

    Raises:
        ConfigError: a setting has no default.
    """
    return convert({}, settings_type(plugin), f"settings of {plugin.__name__}")


def settings_path(plugin: type[Plugin], path: Path | None) -> Path | None:
    """Return the configuration file that a flag names, or else the plugin's `config_env`; None if neither does."""
    named = os.environ.get(plugin.config_env) if plugin.config_env else None
    return path or (Path(named) if named else None)


def _import_plugin(target: str, module_name: str, class_name: str) -> type[Plugin]:
    """Import a plugin's module, and look up its class: a package may import the class only when it is looked up.

    Raises:
        HubError: the module has no such plugin.
    """
    is_file = module_name.endswith(_FILE)
    module = _load_file(Path(module_name)) if is_file else importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise HubError(f'plugin "{target}": {_not_a_plugin(module_name, module, class_name)}')
    return found


def _missing(wanted: str, error: ModuleNotFoundError) -> str:
    missing = error.name or ""
    if wanted == missing or wanted.startswith(f"{missing}."):
        file = f"{wanted.replace('.', '/')}.py"
        todo = f"; to load the file, write {file}:CLASS" if is_there(Path(file)) else ""
        return f"there is no module {missing} on PYTHONPATH or among the installed packages{todo}"
    return f"{location_of_error(error) or wanted} needs module {missing}, which is not installed"


def _not_a_plugin(module_name: str, module: ModuleType, class_name: str) -> str:
    """Return why a name in a module is not a plugin, and what to write or to name instead."""
    found = getattr(module, class_name, None)
    fault = "is not a subclass of hub.Plugin" if found is not None else "does not exist"
    if have := sorted(name for name in dir(module) if _is_plugin_of(getattr(module, name), module)):
        return f"{class_name} {fault}; {module_name} has {', '.join(have)}"
    if isinstance(found, type) and _is_defined_in(found, module) and module.__name__ not in sys.stdlib_module_names:
        return f"{location_of_class(found)}: {class_name} {fault}: write class {class_name}(Plugin)"
    # The file distinguishes a standard-library module from the author's module of the same name.
    file = f"it is {module.__file__}" if getattr(module, "__file__", None) else "part of Python"
    return f"{class_name} {fault}; {module_name} has no plugin ({file})"


def _load_file(path: Path) -> ModuleType:
    directory = path.absolute().parent
    # The file is checked first, so that the error names it if it is missing.
    for place in (path, directory):
        check_trusted(place)
    read_config_text(path)
    import_source_from(directory)
    # This name does not hide another module. Type hints in the file are resolved through it.
    name = f"dphub_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path.absolute())))
    if spec is None or spec.loader is None:
        raise ConfigError(path, "is not a Python file")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_plugin_of(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, Plugin) and _is_defined_in(value, module)


def _is_defined_in(kind: type, module: ModuleType) -> bool:
    """Return whether a class is defined in this module or package, rather than imported there."""
    return f"{kind.__module__}.".startswith(f"{module.__name__}.")
