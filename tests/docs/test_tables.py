"""What the documentation says matches the code."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

from hub.model.node import Condition, Severity
from hub.model.plugin import RegistrationStatus
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.levels import ResetLevel
from plugins.gpu.settings.xids import FATAL, IGNORED
from plugins.ib.settings import IBSettings, Pool, PoolHealth

DOCS = Path(__file__).parents[2] / "docs"
GPU = (DOCS / "gpu.md").read_text(encoding="utf-8")
IB = (DOCS / "ib.md").read_text(encoding="utf-8")


def _rows(text: str, column: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this heading."""
    table = text.partition(f"| {column} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_example_for_gpus_is_right(tmp_path: Path) -> None:
    """The example passes the check, and uses every part of the file."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", GPU, re.MULTILINE | re.DOTALL)
    (tmp_path / "gpu.yaml").write_text(example)
    settings = GPUSettings.read(tmp_path / "gpu.yaml")
    assert settings.dphub.exclude
    assert settings.sharing.mode


def test_every_key_of_ours_is_documented() -> None:
    """Each key is documented with its default."""
    defaults = msgspec.to_builtins(GPUSettings().dphub)
    documented = {}
    for keys, default, _ in _rows(GPU, "key"):
        first, *more = re.findall(r"`([^`]+)`", keys)
        section = first.rpartition(".")[0]
        for key in (first, *(f"{section}{name}" for name in more)):
            documented[key] = default.strip("`")
    expected = {}
    for name, value in defaults.items():
        for key, inner in value.items() if name == "health" else [("", value)]:
            path = f"{name}.{key}" if key else name
            if isinstance(inner, dict) and inner:
                expected |= {f"{path}.{kind}": _default(effect) for kind, effect in inner.items()}
            else:
                expected[path] = _default(inner)
    assert documented == expected


def _default(value: object) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _nvml_calls() -> dict[str, str]:
    """Return the functions that the plugin itself calls, and by which method."""
    found: dict[str, set[str]] = {}
    for path in sorted((DOCS.parent / "plugins/gpu/nvml").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), *_]) if (
                    name.startswith("nvml") and method in ESSENTIAL
                ):
                    found.setdefault(name, set()).add(ESSENTIAL[method])
    return {name: " or ".join(sorted(kinds)) for name, kinds in found.items()}


ESSENTIAL = {"call": "yes", "ask": "no", "attempt": "no"}
"""Whether the response is essential for using a GPU, by the method with which NVML is called."""


def test_every_call_of_the_driver_is_documented() -> None:
    """Each call's row says whether it is essential and which driver introduced it; the table has no other calls."""
    rows = _rows(GPU, "call")
    documented = {f"nvml{name.strip('`')}": row[1] for row in rows for name in row[0].split(", ")}
    calls = _nvml_calls()
    assert calls == documented
    assert all(re.fullmatch(r"[0-9]{3}|all have it|[0-9]{3} or earlier", row[-1]) for row in rows)
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "plugins/gpu/nvml").rglob("*.py"))
    assert set(re.findall(r'"(nvml[A-Z]\w+)"', text)) == calls.keys()


@pytest.mark.parametrize(
    ("table", "words"), [(IGNORED, "an XID caused by applications"), (FATAL, "that needs a reset")]
)
def test_the_xids_are_those_of_the_code(table: dict[int, str], words: str) -> None:
    """Each XID is in the row that describes its effect."""
    (row,) = [cells[0] for cells in _rows(GPU, "event") if words in cells[0]]
    assert [int(code) for code in re.findall(r"\d+", row)] == sorted(table)


def test_the_reset_levels_are_those_of_the_code() -> None:
    """The page has the levels in their order."""
    assert [row[0].strip("`") for row in _rows(GPU, "level")] == list(ResetLevel)


def test_the_example_for_rdma_is_right(tmp_path: Path) -> None:
    """The example passes the check."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", IB, re.MULTILINE | re.DOTALL)
    (tmp_path / "ib.yaml").write_text(example)
    assert len(IBSettings.read(tmp_path / "ib.yaml").config_list) == 2


def test_every_key_of_a_pool_is_documented() -> None:
    """The table has the keys of the shared plugin, and ours."""
    keys = {field.encode_name for field in msgspec.structs.fields(Pool)} - {"health"}
    documented = set(re.findall(r"`([a-zA-Z.]+)`", IB))
    assert keys <= documented
    assert {f"health.{field.encode_name}" for field in msgspec.structs.fields(PoolHealth)} <= documented


LEVELS = {"debug", "info", "warning", "error", "exception"}
LOGGED_BY_OTHERS = ("hub/testing", "hub/cli", "hub/supervisor/config/ini.py", "hub/supervisor/config/watchers.py")
"""Modules of the fake kubelet, and modules whose methods have the same names as log levels."""


def _events() -> set[str]:
    """Return the events that the code logs, including those with a level that is chosen at run time."""
    found = {state.value for state in RegistrationStatus if state is not RegistrationStatus.INVALID}
    for path in _logging():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found |= _event(node)
    return found


def _logging() -> list[Path]:
    """Return the modules that log."""
    modules = (*(DOCS.parent / "hub").rglob("*.py"), *(DOCS.parent / "plugins").rglob("*.py"))
    return [path for path in modules if not str(path.relative_to(DOCS.parent)).startswith(LOGGED_BY_OTHERS)]


def _event(node: ast.AST) -> set[str]:
    match node:
        case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(value=str(event)), *_]) if level in LEVELS:
            return {event}
        case ast.Call(func=ast.Name(id="say" | "log"), args=[ast.Constant(value=str(event)), *_]):
            return {event} if "," not in event else set()
        case ast.Call(func=ast.Attribute(attr="_log_once"), args=[ast.Constant(value=str(event)), *_]):
            return {event}
        case ast.Call(
            func=ast.Attribute(attr="_log_result"), args=[ast.Constant(value=level), ast.Constant(value=str(event)), *_]
        ) if level in LEVELS:
            return {event}
    return set()


def test_every_log_event_is_documented() -> None:
    """Each event in the code is in a table, and each event in a table is in the code."""
    text = (DOCS / "logs.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    documented = {event for cell in cells for event in re.findall(r"`([^`]+)`", cell)}
    assert documented == _events()


def test_every_level_of_a_log_event_is_documented() -> None:
    """This holds where the code names the level; a few levels are chosen at run time."""
    text = (DOCS / "logs.md").read_text(encoding="utf-8")
    documented = {
        event: set(re.findall(r"[a-z]+", level))
        for cell, level in re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.MULTILINE)
        for event in re.findall(r"`([^`]+)`", cell)
    }
    for event, levels in _levels().items():
        assert levels <= documented[event], event


def _levels() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in _logging():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(value=str(event)), *_]) if (
                    level in LEVELS
                ):
                    found.setdefault(event, set()).add("error" if level == "exception" else level)
    return found


def test_log_events_are_short() -> None:
    """They have at most four words, so that a list of events can be read; details are fields."""
    assert [event for event in _events() if len(event.split()) > 4] == []


def test_every_metric_is_documented() -> None:
    """Each metric in the code is in the table, and each metric in the table is in the code."""
    text = (DOCS / "operating.md").read_text(encoding="utf-8")
    documented = {cells[0].strip("`") for cells in _rows(text, "metric")}
    code = [*(DOCS.parent / "hub").rglob("*.py"), *(DOCS.parent / "plugins").rglob("*.py")]
    named = {name for path in code for name in re.findall(r'"(dphub_[a-z_]+)"', path.read_text(encoding="utf-8"))}
    assert documented == named


def test_every_condition_is_documented() -> None:
    """Each condition is documented with its meaning, and so is each severity."""
    text = (DOCS / "operating.md").read_text(encoding="utf-8")
    assert [cells[0] for cells in _rows(text, "condition of a plugin")] == [condition.value for condition in Condition]
    assert [cells[0] for cells in _rows(text, "severity")] == [severity.value for severity in Severity]
