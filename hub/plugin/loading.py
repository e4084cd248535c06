"""Finding a plugin's class and its settings by what a person wrote."""

import importlib
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import msgspec

from hub.errors import ConfigError, HubError, read_config_text
from hub.plugin.contract import Plugin, Settings


def load_plugin(target: str) -> type[Plugin]:
    """The class that "MODULE:CLASS" names, where MODULE is importable or the path of a Python file.

    Raises:
        HubError: there is no such module or class, or it is no plugin.
    """
    module_name, colon, class_name = target.partition(":")
    if not (module_name and colon and class_name.isidentifier()):
        raise HubError(f'plugin "{target}": expected MODULE:CLASS, for example plugins.stub:Stub')
    module = _load_file(Path(module_name), target) if module_name.endswith(".py") else _load_module(module_name, target)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        have = sorted(name for name, value in vars(module).items() if _is_plugin_of(value, module))
        fault = "is no subclass of hub.Plugin" if found is not None else "does not exist"
        raise HubError(f'plugin "{target}": {class_name} {fault}; {module_name} has {", ".join(have) or "no plugin"}')
    return found


def load_settings(plugin: type[Plugin], path: Path | None) -> Any:  # noqa: ANN401 - the type that the plugin declares
    """The plugin's settings from a YAML or JSON file, or their defaults where there is no file.

    Raises:
        ConfigError: the file cannot be read, or says something that the plugin does not know.
    """
    kind = get_type_hints(plugin).get("settings", Settings)
    source = path or f"settings of {plugin.__name__}"
    try:
        return msgspec.convert(_parse(path) if path else {}, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        raise ConfigError(source, problem, where=place.strip("`").removeprefix("$").removeprefix(".")) from None


def _load_module(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise HubError(f'plugin "{target}": there is no module {error.name}') from None
        raise HubError(f'plugin "{target}": {name} needs module {error.name}, which is not installed') from error


def _load_file(path: Path, target: str) -> ModuleType:
    read_config_text(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise HubError(f'plugin "{target}": {path} is no Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_plugin_of(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == module.__name__


def _parse(path: Path) -> Any:  # noqa: ANN401 - what a file holds
    text = read_config_text(path)
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(path, error.msg, where=f"line {error.lineno}") from None
    import yaml  # noqa: PLC0415 - 1 MB that a plugin without a YAML file does not need

    try:
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"line {line[1]}" if line else ""
        raise ConfigError(path, f"no YAML: {getattr(error, 'problem', error)}", where=where) from None
