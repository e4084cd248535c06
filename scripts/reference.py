"""Generate docs/reference.md, with every key, command, variable and exit code, from the code.

`python -m scripts.reference` writes it; with `--check` it fails if the committed page differs.
"""

import argparse
import ast
import importlib
import inspect
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click

from hub.agent.settings import AgentSettings
from hub.base.exits import Exit
from hub.cli import SECTIONS, cli
from hub.cli.fleet import cli as fleet
from hub.cli.topics import VARIABLES as VARIABLES_WITHOUT_FLAG
from hub.supervisor.config import watchers as config
from plugins.amd.settings import AMDSettings
from plugins.generic.settings import GenericSettings
from plugins.gpu.settings.environment import VARIABLES
from plugins.gpu.settings.file import GPUSettings
from plugins.ib.settings import IBSettings
from plugins.intel.settings import IntelSettings
from plugins.stub.faults import Faults
from plugins.stub.settings import StubSettings
from scripts.docstrings import field_texts
from scripts.settingswords import Struct, either, keys, sections

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference.md"

HEAD = """\
# Reference

The keys of every configuration file, the commands of `dphub` and `kubectl dphub`, environment variables and exit codes.
`python -m scripts.reference` generates this page from the code.

An unknown key is an error; the message says where it is. `dphub check` finds it without starting anything. A key
without a value counts as missing.

## circus.ini

The plugins that the hub runs. `#` and `;` at the beginning of a line start a comment.

### `[watcher:NAME]`

One plugin. NAME consists of letters, digits, `_`, `.` and `-`, 63 characters at most.
"""

CIRCUS_SECTIONS = """\
`numprocesses = 1` and `singleton = true` are accepted, and have no effect. Other circus keys are rejected; the error
says whether the hub sets them or they are unknown.

### `[env]`, `[env:NAMES]`

Environment variables for all plugins, or for those whose names match one of NAMES (`gpu`, `gpu,ib`, `my-*`). Plugins
also inherit the hub's own environment.

### `[circus]`

| key | meaning |
|---|---|
| `include` | More files, by name or by a pattern in the last part of the path, relative to this one. |
| `include_dir` | Directories from which all `*.ini` are read. |
"""

GPU_YAML = """\
The configuration file of `plugins.gpu:GPU`, YAML or JSON: that of NVIDIA's device plugin, with an additional `dphub`
key. See [NVIDIA GPUs](gpu.md)."""

IB_YAML = """\
The configuration file of `plugins.ib:IB`, YAML or JSON: that of the RDMA shared device plugin, with additional keys.
See [RDMA devices](ib.md)."""

AMD_YAML = """\
The configuration file of `plugins.amd:AMD`, YAML or JSON: the options of ROCm's device plugin, with additional keys.
See [AMD GPUs](amd.md)."""

INTEL_YAML = """\
The configuration file of `plugins.intel:Intel`, YAML or JSON: the flags of Intel's GPU device plugin, with additional
keys. See [Intel GPUs](intel.md)."""

GENERIC_YAML = """\
The configuration file of `plugins.generic:Generic`, YAML or JSON. It also takes the keys of the generic-device-plugin,
or, in place of all keys, the list format of the smarter-device-manager. See [Other devices](generic.md)."""

AGENT_YAML = """\
The configuration file of [the agent](cluster.md#the-agent), YAML or JSON."""

STUB_YAML = "The configuration file of `plugins.stub:Stub`, YAML or JSON."

STUB_FAULTS_YAML = """\
Faults that the stub simulates, to try out how a node and its alerts react. A change takes effect at once. `faults` in
stub.yaml sets the path, by default in the run directory."""

FILES: dict[str, tuple[Struct, str]] = {
    "gpu.yaml": (GPUSettings, GPU_YAML),
    "ib.yaml": (IBSettings, IB_YAML),
    "amd.yaml": (AMDSettings, AMD_YAML),
    "intel.yaml": (IntelSettings, INTEL_YAML),
    "generic.yaml": (GenericSettings, GENERIC_YAML),
    "agent.yaml": (AgentSettings, AGENT_YAML),
    "stub.yaml": (StubSettings, STUB_YAML),
    "stub-faults.yaml": (Faults, STUB_FAULTS_YAML),
}

GPU_VARIABLES = """\
### Environment variables

They override the file, as they do in NVIDIA's plugin. An empty variable has no effect.
"""

PLUGIN_PROCESS = """\
### python -m hub.plugin

`python -P -m hub.plugin MODULE:CLASS [OPTIONS]`

One plugin process. The hub starts it with the `cmd` in circus.ini, and passes the rest in environment variables. When
started by hand, it serves a kubelet without a hub; `-P` keeps Python from importing modules from the current directory.

MODULE is a module on `PYTHONPATH` or among the installed packages, or the path of a file that ends in `.py`.
"""

FLEET = """\
### kubectl dphub

The hubs of all nodes, from your own machine; see [All nodes at once](fleet.md). All of its commands have these options:
"""

VARIABLES_HEAD = """\
## Environment variables

A flag overrides its variable. The variables that set keys of gpu.yaml are listed in the section on gpu.yaml.
"""

NOT_OF_PLUGINS = {"DPHUB_HTTP", "DPHUB_HTTP_HOSTS"}
"""Variables of flags of `dphub run` that no plugin reads."""

EXIT_CODES = """\
## Exit codes

These are for `dphub run` and plugins; other commands exit with 0, 1 or 2.
"""

Row = tuple[str, ...]


def make_reference() -> str:
    """Return the whole page."""
    parts = [HEAD, *_circus_ini()]
    for name, (kind, text) in FILES.items():
        parts += _file(name, kind, text)
    return "\n".join([*parts, *_commands(), *_variables(), *_exit_codes()])


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- |", "|---|").replace(" --- |", "---|")


def _code(text: object) -> str:
    return f"`{text}`"


def _circus_ini() -> Iterator[str]:
    texts = field_texts(config)["PluginConfig"]
    known = [field for field in fields(config.PluginConfig) if field.name not in {"name", "env", "rlimits", "command"}]
    rows = [(_code(field.name), _ini_default(field), texts[field.name]) for field in known]
    key, _, meaning = texts["rlimits"].removeprefix("From ").partition(": ")
    yield _table(("key", "default", "meaning"), [*rows, (key, "", meaning[0].upper() + meaning[1:])])
    yield CIRCUS_SECTIONS


def _ini_default(field: "Field[Any]") -> str:
    value = field.default
    if value is MISSING:
        return "required"
    if field.name == "stop_signal":
        return _code(signal.Signals(value).name)
    if isinstance(value, bool):
        return _code(str(value).lower())
    return _code(f"{value:g}") if isinstance(value, int | float) else ""


def _file(name: str, kind: Struct, text: str) -> Iterator[str]:
    yield f"## {name}\n\n{text}\n"
    for cls, places in sections(kind).items():
        rows = [(_code(key.name), key.value, key.default, key.meaning) for key in keys(cls)]
        # A section without rows contains only sections, which are listed with their full names.
        if rows and places != [()]:
            yield "### " + ", ".join(_code(".".join(place).replace(".[]", "[]")) for place in places) + "\n"
            said = inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]
            if not re.fullmatch(r"(`[^`]*`( or )?)+\.", said):
                yield f"{said}\n"
        if rows:
            yield _table(("key", "value", "default", "meaning"), rows)
    if kind is GPUSettings:
        yield GPU_VARIABLES
        yield _table(("variable", "sets"), [(_code(variable), _code(key)) for variable, (key, _) in VARIABLES.items()])


def _commands() -> Iterator[str]:
    commands = {name: _command(name) for section in SECTIONS.values() for name in section}
    rows = {name: [_option_row(option) for option in _options(command)] for name, command in commands.items()}
    counts = Counter(row for each in rows.values() for row in each)
    common = {row: None for row, count in counts.items() if count > len(commands) / 2}
    others = either([_code(name) for name in commands if common.keys().isdisjoint(rows[name])]).replace(" or ", " and ")
    head = ("option", "variable", "default", "meaning")
    yield f"## Commands\n\nThese options select the hub that a command talks to; all but {others} have them.\n"
    yield _table(head, common)
    for name, command in commands.items():
        usage = " ".join(["dphub", name, *command.collect_usage_pieces(click.Context(command))])
        yield f"### dphub {name}\n\n{_code(usage)}\n\n{_help(command)}\n"
        if own := [row for row in rows[name] if row not in common]:
            yield _table(head, own)
    yield PLUGIN_PROCESS
    yield _table(("option", "variable", "meaning"), _plugin_flags())
    yield from _fleet_commands()


def _fleet_commands() -> Iterator[str]:
    """Yield the commands for a whole cluster; the options of the cluster are listed once."""
    rows = {name: [_fleet_row(option) for option in _options(command)] for name, command in fleet.commands.items()}
    common = dict.fromkeys(row for row in next(iter(rows.values())) if all(row in each for each in rows.values()))
    yield FLEET
    yield _table(("option", "default", "meaning"), common)
    for name, command in fleet.commands.items():
        usage = " ".join(["kubectl dphub", name, *command.collect_usage_pieces(click.Context(command))])
        yield f"#### kubectl dphub {name}\n\n{_code(usage)}\n\n{_help(command)}\n"
        if own := [row for row in rows[name] if row not in common]:
            yield _table(("option", "default", "meaning"), own)


def _fleet_row(option: click.Option) -> Row:
    names, _, default, meaning = _option_row(option)
    return names, default, meaning


def _help(command: click.Command) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    if command is None:
        raise LookupError(f"dphub lists the command {name}, but does not have it")
    return command


def _options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]


def _option_row(option: click.Option) -> Row:
    meaning, _, default = (option.help or "").partition("  [default: ")
    names = ", ".join(_code(name) for name in option.opts)
    if isinstance(option.type, click.Choice):
        names += " " + either([_code(choice) for choice in option.type.choices])
    elif not option.is_flag:
        names += " " + (option.metavar or option.type.name.replace("integer range", "number").upper())
    if option.show_default:
        default = str(option.default)
    return names, _code(option.envvar) if option.envvar else "", default.removesuffix("]"), meaning


def _plugin_flags() -> Iterator[Row]:
    """Yield the options of a plugin process, from its source: argparse does not expose them."""
    source = inspect.getsource(importlib.import_module("hub.plugin.__main__"))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=[ast.Constant(value=str(name)), *_]):
                if name.startswith("--"):
                    texts = [str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)]
                    variable = next((_code(text) for text in texts if text.startswith("DPHUB_")), "")
                    (meaning,) = [ast.literal_eval(word.value) for word in node.keywords if word.arg == "help"]
                    yield _code(name), variable, f"{meaning[0].upper()}{meaning[1:]}."


def _variables() -> Iterator[str]:
    flags = [option for option in _options(_command("run")) if isinstance(option.envvar, str)]
    rows: list[Row] = [(_code(option.envvar), _reader(option), _option_row(option)[-1]) for option in flags]
    rows += [(_code(name), reader, meaning) for name, (reader, meaning) in VARIABLES_WITHOUT_FLAG.items()]
    yield VARIABLES_HEAD
    yield _table(("variable", "read by", "meaning"), rows)


def _reader(option: click.Option) -> str:
    return "`dphub run`" if option.envvar in NOT_OF_PLUGINS else "`dphub`, and a plugin"


def _exit_codes() -> Iterator[str]:
    yield EXIT_CODES
    yield _table(("code", "meaning"), [(str(code.value), code.meaning) for code in Exit])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    if not parser.parse_args(arguments).check:
        TARGET.write_text(make_reference(), encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == make_reference():
        return 0
    print(f"{TARGET}: differs from the code; run python -m scripts.reference", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
