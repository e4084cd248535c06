"""Reading configuration files: whatever is in them, the error gives the file and the location."""

import time
from pathlib import Path

import pytest

from hub import ConfigError, Settings
from hub.api.settings import parse_yaml, read_settings


class _Own(Settings, frozen=True):
    names: tuple[str, ...] = ()
    number: int = 0
    ratio: float = 0
    rest: object = None


def _bomb(levels: int = 7) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([*lines, f"rest: *a{levels - 1}"])


def _merge_bomb(levels: int = 8) -> str:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


YAML = {
    "alias bomb": (_bomb(), "line 6: expands to more than 100000 values"),
    "merge bomb": (_merge_bomb(), "line "),
    "alias cycle": ("number: 1\nrest: &a [*a]", "line 2: contains itself"),
    "mapping cycle": ("rest: &a\n  b: *a", "line 1: contains itself"),
    "flow nesting": ("number: 1\nrest: " + "[" * 5000, "line 2: nested more than"),
    "block nesting": ("rest:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 300)), "line "),
    "nesting by aliases": (
        "rest:\n- &a0 [x]\n" + "".join(f"- &a{n} [*a{n - 1}]\n" for n in range(1, 2000)),
        "line ",
    ),
    "long integer": ("number: 1\nratio: " + "9" * 5000, "line 2: "),
    "large integer": ("number: 1\nrest: " + "9" * 30, "line 2: "),
    "sexagesimal integer": ("rest: 1" + ":59" * 100, "line 1: "),
    "empty integer": ('names: []\nnumber: !!int ""', "line 2: "),
    "no timestamp": ("number: 1\nrest: !!timestamp x", "line 2: "),
    "impossible date": ("rest: 2001-99-99", "line 1: "),
    "no boolean": ("rest: !!bool x", "line 1: "),
    "no float": ("rest: !!float x", "line 1: "),
    "not a number": ("ratio: .nan", "line 1: "),
    "infinite": ("ratio: -.inf", "line 1: "),
    "no binary": ("rest: !!binary 'ä'", "line 1: "),
    "python": ("rest: !!python/object/apply:os.system [id]", "line 1: "),
    "unhashable key": ("? [a]\n: b", "line 1: "),
    "control character": ("number: 1\nrest: '\x01'", "line 2: "),
    "two documents": ("number: 1\n---\nnumber: 2", "line 2: "),
    "character beyond Unicode": ('number: 1\nrest: "\\U00110000"', "line 2: "),
    "character beyond 31 bits": ('number: 1\nrest: "\\UFFFFFFFF"', "line 2: "),
    "version with many digits": (f"# x\n%YAML {'1' * 5000}.1\n---\nnumber: 1", "line 2: "),
    "long string in aliases": (
        f"a: &a '{'x' * 90_000}'\nb: &b [{'*a,' * 10}]\nrest: [{'*b,' * 100}]",
        "line 3: expands to more than 1048576 characters",
    ),
    "undefined alias": ("rest: *a", "line 1: "),
}

LONG = 10.0
"""Seconds of CPU time."""

JSON = {
    "nesting": ('{"number": 1,\n"rest": ' + "[" * 100_000, "line 2: nested more than"),
    "long integer": ('{"number": 1,\n"rest": ' + "9" * 5000 + "}", "line 2: "),
    "large integer": ('{"rest": ' + "9" * 30 + "}", "line 1: "),
    "not a number": ('{"number": 1,\n"ratio": NaN}', "invalid JSON: "),
    "cut off": ('{"number": 1,\n"rest": ', "line 2: "),
    "endless string": ('{"number": 1,\n"rest": "' + '\\"' * 500_000, "line 2: "),
}


def _error(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_settings(path, _Own)
    text = str(raised.value)
    assert text.startswith(f"{path}: "), text
    assert len(text) < 1000, text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", YAML)
def test_yaml_that_cannot_be_used_has_a_line(tmp_path: Path, name: str) -> None:
    """The error gives the line, whatever is wrong; the expanded content of such a file is never built."""
    text, place = YAML[name]
    assert _error(tmp_path, "own.yaml", text).startswith(place)


@pytest.mark.parametrize("name", JSON)
def test_json_that_cannot_be_used_has_a_place(tmp_path: Path, name: str) -> None:
    """The error gives a location, as for YAML, and the mistake is found quickly."""
    text, place = JSON[name]
    begin = time.process_time()
    assert _error(tmp_path, "own.json", text).startswith(place)
    assert time.process_time() - begin < LONG


def test_a_file_has_a_size(tmp_path: Path) -> None:
    """A file larger than any configuration is refused before it is parsed."""
    assert "too large" in _error(tmp_path, "own.yaml", "# x\n" * 100_000)


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    """They are common in the files of other plugins; only what they expand to is limited."""
    path = tmp_path / "own.yaml"
    path.write_text("rest:\n- &a {x: 1, y: 2}\n- {<<: *a, y: 3}\n- *a\nnumber: 0x10\nratio: 1.5\n")
    read = read_settings(path, _Own)
    assert read.rest == [{"x": 1, "y": 2}, {"x": 1, "y": 3}, {"x": 1, "y": 2}]
    assert (read.number, read.ratio) == (16, 1.5)


@pytest.mark.parametrize(("file", "text"), [("a.json", '{"names": ["\\ud800"]}'), ("a.yaml", 'rest: {"\\udfff": 1}')])
def test_half_of_a_surrogate_pair(tmp_path: Path, file: str, text: str) -> None:
    """An escape sequence that does not stand for a character is a mistake in the file."""
    path = tmp_path / file
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"{file}.*(a lone surrogate|line 1)"):
        read_settings(path, _Own)


class _Entry(Settings, frozen=True):
    name: str


class _Listed(Settings, frozen=True):
    list_key = "entries"
    entries: tuple[_Entry, ...] = ()
    number: int = 0


@pytest.mark.parametrize("name", ["own.yaml", "own.json"])
def test_a_file_whose_top_level_is_a_list(tmp_path: Path, name: str) -> None:
    """The list is the value of the key that the settings name; the file may be a mapping with that key, too."""
    path = tmp_path / name
    for text in ('[{"name": "a"}, {"name": "b"}]', '{"entries": [{"name": "a"}, {"name": "b"}], "number": 0}'):
        path.write_text(text)
        assert _Listed.read(path) == _Listed(entries=(_Entry(name="a"), _Entry(name="b")))
    path.write_text('[{"name": "a"}, {"nam": "b"}]')
    with pytest.raises(ConfigError, match=r"own\..*: \[1\]: .*\"nam\"; did you mean name\?"):
        _Listed.read(path)
    path.write_text('[{"name": "a"}]')
    with pytest.raises(ConfigError, match=r"expected a mapping, got a list"):
        read_settings(path, _Own)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {", "devices[0]: line 2: invalid YAML"),
        ('{"a": "\\ud800"}', "devices[0]: has \\ud800, a lone surrogate"),
        ("a: 1\na: 2", "devices[0]: line 2: duplicate key"),
    ],
)
def test_a_string_inside_settings(text: str, problem: str) -> None:
    """It has the limits of a file, and its errors name its location."""
    assert parse_yaml("devices[0]", "a: 1\nb:\nc: [{d: }]") == {"a": 1, "c": [{}]}
    with pytest.raises(ConfigError) as raised:
        parse_yaml("devices[0]", text)
    assert str(raised.value).startswith(problem)
