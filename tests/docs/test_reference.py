"""docs/reference.md is generated from the code, and is complete."""

import re
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest

from hub.base.exits import Exit
from hub.supervisor.config import keys
from plugins.gpu.settings.environment import VARIABLES
from plugins.ib.settings import IBSettings
from scripts import docstrings, reference, settingswords
from tests.docs.docs_tools import ROOT, page

CODE = [path for package in ("hub", "plugins") for path in (ROOT / package).rglob("*.py")]


def test_it_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    """The committed page is what the code generates."""
    assert reference.main(["--check"]) == 0, capsys.readouterr().err


def test_drift_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A page that differs from the code fails the check, which says what to do; writing the page fixes it."""
    stale = tmp_path / "reference.md"
    stale.write_text(page("reference").replace("`migStrategy`", "`migPolicy`"))
    monkeypatch.setattr(reference, "TARGET", stale)
    assert reference.main(["--check"]) == 1
    assert "run python -m scripts.reference" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0


def test_a_key_without_a_meaning_is_refused() -> None:
    """The page is not written, so no key of a file is without an explanation."""

    class Undocumented(msgspec.Struct):
        silent: int = 1

    with pytest.raises(LookupError, match="silent has no docstring: say what it means"):
        settingswords.keys(Undocumented)


def test_every_variable_is_documented() -> None:
    """The page has all of the hub's own variables that the code names, and all those for gpu.yaml."""
    named = {name for path in CODE for name in re.findall(r'"(DPHUB_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    missing = [name for name in sorted(named | VARIABLES.keys()) if f"| `{name}` |" not in page("reference")]
    assert missing == []


def test_every_variable_that_is_read_is_documented() -> None:
    """The page has each variable that the code reads from `os.environ` by its name."""
    asked = {
        name
        for path in CODE
        for name in re.findall(r'os\.environ(?:\.get\(|\[)"([A-Z_]+)"', path.read_text(encoding="utf-8"))
    }
    # Passed on to other programs, as every process does, and set by a shell for its completion.
    assert {name for name in asked if f"| `{name}` |" not in page("reference")} == {
        "PATH",
        "COMP_LINE",
        "COMP_WORDBREAKS",
    }


def test_every_key_of_circus_ini_is_documented() -> None:
    """The page has each key, with its default."""
    section = page("reference").partition("## circus.ini")[2].partition("\n## ")[0]
    assert all(f"| `{key}` | " in section for key in (*keys.KEYS, "rlimit_NAME"))
    assert all(f"`{key} = " in section for key in keys.FIXED)
    assert all(f"| `{key}` | " in section for key in keys.CIRCUS_KEYS)


def test_every_exit_code_is_documented() -> None:
    """The page has each exit code, with its meaning."""
    section = page("reference").partition("## Exit codes")[2]
    assert re.findall(r"^\| (\d+) \|", section, re.MULTILINE) == [str(code.value) for code in Exit]


@pytest.mark.parametrize(
    ("key", "value", "default"),
    [
        ("mode", "`pool`, `hca`, `vf` or `function`", "`pool`"),
        ("rdmaHcaMax", "integer >= 0 and <= 10000", "`1`"),
        ("permissions", "string (rw or rwm)", "`rw`"),
        ("nodes", "list of `umad`, `issm` or `rdma_cm`", '`["umad", "rdma_cm"]`'),
        ("resourceName", "string (letters, digits and underscores)", "required"),
    ],
)
def test_types_are_described_in_words(key: str, value: str, default: str) -> None:
    """A row says which values a key takes, and what its default is."""
    ((pool, places),) = [
        item for item in settingswords.sections(IBSettings).items() if item[1] == [("configList", "[]")]
    ]
    assert places
    (row,) = [row for row in settingswords.keys(pool) if row.name == key]
    assert (row.value, row.default) == (value, default)


def test_docstrings_below_fields_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docstrings of annotated fields and of an enumeration's members are found, in one line, and no others."""
    (tmp_path / "sample.py").write_text(
        'class A:\n    x: int = 1\n    """One\n    and more."""\n    y: int = 2\n\n    z = 3\n    """Three."""\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("sample")
    assert docstrings.field_texts(module) == {"A": {"x": "One and more.", "z": "Three."}}


def test_words_of_a_key_are_explained() -> None:
    """Where the code says what each word means, so does the page."""
    for path in (ROOT / "plugins").glob("*/settings*/**/*.py"):
        for name, texts in _documented_members(path).items():
            for text in texts:
                assert text[1:].rstrip(".") in page("reference"), (path, name)


def _documented_members(path: Path) -> dict[str, list[str]]:
    """Return the enumerations of a module, and the docstrings of their members."""
    module = __import__(".".join(path.relative_to(ROOT).with_suffix("").parts), fromlist=["_"])
    return {
        name: list(texts.values())
        for name, texts in docstrings.field_texts(module).items()
        if isinstance(kind := getattr(module, name), type)
        and issubclass(kind, StrEnum)
        and name != "XidMeaning"  # a result, not a value in a file
    }
