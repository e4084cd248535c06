"""Reading circus.ini and the files that it includes into sections, without interpreting them."""

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.trust import check_trusted
from hub.base.untrusted import read_config_text

MAX_BYTES = 64 << 10
"""Maximum size of a file: hundreds of plugins fit in it, and Python splits a command of this length in a second."""

_SUFFIXES_OF_PLUGINS = {".yaml", ".yml", ".json"}
_FOR_PLUGINS = ", as in circus.ini; for the file of a plugin: dphub check --plugin MODULE:CLASS FILE"

_MAIN = "circus"
_INCLUDES = ("include", "include_dir")


@dataclass(frozen=True)
class Section:
    """One `[section]` of one file."""

    file: Path
    name: str
    items: Mapping[str, str]

    def error(self, problem: str, key: str = "") -> ConfigError:
        """Return an error about this section, or about one key in it."""
        return ConfigError(self.file, problem, where=f"[{self.name}] {key}".rstrip())


def read_sections(path: Path) -> list[Section]:
    """Return all sections of a file and of the files that it includes.

    Raises:
        ConfigError: a file cannot be read or parsed, or a section is duplicated.
    """
    sections: dict[str, Section] = {}
    for section in _with_includes(path):
        first = sections.setdefault(section.name, section)
        if first is not section:
            raise section.error(f"duplicate section; it is also in {first.file}")
    return list(sections.values())


def _with_includes(path: Path) -> Iterator[Section]:
    for section in _read_file(path):
        yield section
        if section.name == _MAIN:
            for file in _included(section):
                yield from _read_included(file)


def _read_included(file: Path) -> Iterator[Section]:
    for section in _read_file(file):
        if section.name == _MAIN:
            raise section.error("not allowed in an included file, only in the main file")
        yield section


def _included(section: Section) -> Iterator[Path]:
    """Yield the files that a section names, relative to the section's file."""
    known: set[str] = set()
    for key, find in (("include", _matching), ("include_dir", _in_directory)):
        for name in section.items.get(key, "").split():
            try:
                for file in find(section.file.parent, name):
                    _add_new(file, name, known)
                    yield file
            except ValueError as error:
                raise section.error(str(error), key) from None
            except OSError as error:
                raise section.error(f"{name} cannot be read: {error.strerror}", key) from None


def _add_new(file: Path, name: str, known: set[str]) -> None:
    real = os.path.realpath(file)
    if real in known:
        raise ValueError(f"{name} is included twice")
    known.add(real)


def _matching(parent: Path, name: str) -> list[Path]:
    """Return the files that match a pattern, in one directory: a search through many could take forever.

    Raises:
        ValueError: there are none, or it is not such a pattern.
    """
    path = parent / name
    if path.exists():
        return [path]
    if any(wildcard in str(Path(name).parent) for wildcard in "*?[") or "**" in name:
        raise ValueError(f"{name}: wildcards are allowed only in the file name, and ** is not allowed at all")
    files = sorted(path.parent.glob(path.name)) if path.name else []
    if not files:
        raise ValueError(f"no file {path}")
    return files


def _in_directory(parent: Path, name: str) -> list[Path]:
    """Return the configuration files in a directory.

    Raises:
        ValueError: it does not exist.
    """
    directory = parent / name
    if not directory.is_dir():
        raise ValueError(f"no directory {directory}")
    return sorted(directory.glob("*.ini"))


class _Parser(configparser.RawConfigParser):
    """A parser whose regular expression takes linear time in the length of a line.

    configparser's own expression takes quadratic time on a line of spaces.
    """

    OPTCRE = re.compile(r"(?P<option>[^=:]*)(?P<vi>[=:])\s*(?P<value>.*)$")


def _read_file(path: Path) -> list[Section]:
    """Read one file as circus does: `#` and `;` start comments, keys are case-sensitive, no interpolation."""
    parser = _Parser(
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=(";",),
        default_section="",  # circus.ini has no section from which all others inherit
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    check_trusted(path)
    text = read_config_text(path)
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(path, f"too large, expected at most {MAX_BYTES} bytes")
    try:
        parser.read_string(text)
    except configparser.DuplicateOptionError as error:
        raise ConfigError(
            path, f"duplicate key (line {error.lineno})", where=f"[{error.section}] {error.option}"
        ) from None
    except configparser.DuplicateSectionError as error:
        raise ConfigError(path, f"duplicate section (line {error.lineno})", where=f"[{error.section}]") from None
    except configparser.MissingSectionHeaderError as error:
        hint = _FOR_PLUGINS if path.suffix in _SUFFIXES_OF_PLUGINS else ""
        raise ConfigError(path, f"expected a [section] first{hint}", where=f"line {error.lineno}") from None
    except configparser.ParsingError as error:
        # The line itself may contain a password, and this text is shown to anyone who reads the status.
        number, _ = error.errors[0]
        raise ConfigError(path, "expected `key = value` or [section]", where=f"line {number}") from None
    return [Section(path, name, dict(parser.items(name))) for name in parser.sections()]
