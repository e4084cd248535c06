"""What the documentation says is what the code does."""

import re
from pathlib import Path

import msgspec
import pytest

from plugins.gpu.settings import GPUSettings, ResetLevel
from plugins.gpu.settings.xids import FATAL, IGNORED
from plugins.ib.settings import IBSettings, Pool, PoolHealth

DOCS = Path(__file__).parents[1] / "docs"
GPU = (DOCS / "gpu.md").read_text(encoding="utf-8")
IB = (DOCS / "ib.md").read_text(encoding="utf-8")


def _rows(text: str, column: str) -> list[list[str]]:
    """The rows of the table whose first column has this head."""
    table = text.partition(f"| {column} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_example_for_gpus_is_right(tmp_path: Path) -> None:
    """It passes the check, and uses every part of the file."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", GPU, re.MULTILINE | re.DOTALL)
    (tmp_path / "gpu.yaml").write_text(example)
    settings = GPUSettings.read(tmp_path / "gpu.yaml")
    assert settings.dphub.exclude
    assert settings.sharing.mode


def test_every_key_of_ours_is_documented() -> None:
    """With its default."""
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
            if key == "xids":
                expected |= {f"{path}.{kind}": "[]" for kind in inner}
            else:
                expected[path] = str(list(inner) if isinstance(inner, tuple) else inner)
    assert documented == expected


@pytest.mark.parametrize(
    ("table", "words"), [(IGNORED, "an XID that applications cause"), (FATAL, "that needs a reset")]
)
def test_the_xids_are_those_of_the_code(table: dict[int, str], words: str) -> None:
    """Each in the row that says what follows from it."""
    (row,) = [cells[0] for cells in _rows(GPU, "what is seen") if words in cells[0]]
    assert [int(code) for code in re.findall(r"\d+", row)] == sorted(table)


def test_the_reset_levels_are_those_of_the_code() -> None:
    """In their order."""
    assert [row[0].strip("`") for row in _rows(GPU, "level")] == list(ResetLevel)


def test_the_example_for_rdma_is_right(tmp_path: Path) -> None:
    """It passes the check."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", IB, re.MULTILINE | re.DOTALL)
    (tmp_path / "ib.yaml").write_text(example)
    assert len(IBSettings.read(tmp_path / "ib.yaml").config_list) == 2


def test_every_key_of_a_pool_is_documented() -> None:
    """Those of the shared plugin and those of ours."""
    keys = {field.encode_name for field in msgspec.structs.fields(Pool)} - {"health"}
    documented = set(re.findall(r"`([a-zA-Z.]+)`", IB))
    assert keys <= documented
    assert {f"health.{field.encode_name}" for field in msgspec.structs.fields(PoolHealth)} <= documented
