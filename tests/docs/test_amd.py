"""docs/amd.md: every setting is there, with its default, and so is every mode."""

from pathlib import Path

import msgspec

from plugins.amd.health import PARTITIONS
from plugins.amd.settings import DEVICE_COUNT, AMDSettings, Selector
from tests.docs.docs_tools import blocks, codes, page, rows

UNSET = {"gpu.device_count": "all", "health.exporter": "AMD's default"}
"""Words for defaults that are not shown as they are."""


def test_the_example_is_right(tmp_path: Path) -> None:
    """The example passes the check, and uses most of the file's keys."""
    (example,) = blocks("amd", "yaml")
    (tmp_path / "amd.yaml").write_text(example)
    settings = AMDSettings.read(tmp_path / "amd.yaml")
    assert settings.exclude
    assert settings.resources
    assert settings.health != AMDSettings().health


def test_every_key_is_documented() -> None:
    """Each key is documented with its default."""
    expected = {}
    for name, value in msgspec.to_builtins(AMDSettings()).items():
        for key, default in value.items() if isinstance(value, dict) else [("", value)]:
            expected[f"{name}.{key}" if key else name] = default
    documented = {codes(row[0])[0]: row[1].strip("`") for row in rows("amd", "key", "default", "meaning")}
    assert documented == {key: UNSET.get(key, _shown(value)) for key, value in expected.items()}
    assert f"`{DEVICE_COUNT}`" in page("amd")


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_key_of_a_selector_is_documented() -> None:
    """Each key of a selector is documented with what it matches."""
    documented = [code for row in rows("amd", "key of a selector") for code in codes(row[0])]
    assert documented == [field.encode_name for field in msgspec.structs.fields(Selector)]


def test_every_mode_is_documented() -> None:
    """Each mode is documented with its number of partitions, which in CPX mode depends on the card."""
    documented = {row[0].lower(): row[1] for row in rows("amd", "compute mode")}
    assert documented.keys() == {*PARTITIONS, "cpx"}
    assert {mode: documented[mode][0] for mode in PARTITIONS} == {mode: str(n) for mode, n in PARTITIONS.items()}
