"""The text of circus.ini and of the files that it includes, as sections; what they mean is for `config`."""

import configparser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hub.base.errors import ConfigError, read_config_text

_MAIN = "circus"
_INCLUDES = ("include", "include_dir")


@dataclass(frozen=True)
class Section:
    """One `[section]` of one file."""

    file: Path
    name: str
    items: Mapping[str, str]

    def error(self, problem: str, key: str = "") -> ConfigError:
        """The error to raise about this section, or one key of it."""
        return ConfigError(self.file, problem, where=f"[{self.name}] {key}".rstrip())


def read_sections(path: Path) -> list[Section]:
    """All sections of a file and of what it includes.

    Raises:
        ConfigError: a file cannot be read, is no ini file, or has a section a second time.
    """
    sections: dict[str, Section] = {}
    for section in _with_includes(path):
        first = sections.setdefault(section.name, section)
        if first is not section:
            raise section.error(f"is in {first.file} already")
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
            raise section.error("belongs in the main file only, this one is included")
        yield section


def _included(section: Section) -> Iterator[Path]:
    """The files named by the section; relative to the file that it stands in."""
    here = section.file.parent
    for pattern in section.items.get("include", "").split():
        files = sorted(_glob(here / pattern))
        if not files:
            raise section.error(f"no file {here / pattern}", "include")
        yield from files
    for name in section.items.get("include_dir", "").split():
        directory = here / name
        if not directory.is_dir():
            raise section.error(f"no directory {directory}", "include_dir")
        yield from sorted(directory.glob("*.ini"))


def _glob(pattern: Path) -> Iterator[Path]:
    if pattern.exists():
        return iter([pattern])
    return Path(pattern.anchor or ".").glob(str(pattern.relative_to(pattern.anchor)))


def _read_file(path: Path) -> list[Section]:
    """One file, read as circus reads it: `#` and `;` open comments, keys are case-sensitive, no interpolation."""
    parser = configparser.RawConfigParser(
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=(";",),
        default_section="",  # circus.ini has no section that all others inherit from
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    text = read_config_text(path)
    try:
        parser.read_string(text)
    except configparser.DuplicateOptionError as error:
        raise ConfigError(
            path, f"is there twice (line {error.lineno})", where=f"[{error.section}] {error.option}"
        ) from None
    except configparser.DuplicateSectionError as error:
        raise ConfigError(path, f"is there twice (line {error.lineno})", where=f"[{error.section}]") from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError(path, "expected a [section] first", where=f"line {error.lineno}") from None
    except configparser.ParsingError as error:
        # The error has the line as well, but quoted or not depending on Python's version.
        number, _ = error.errors[0]
        line = text.split("\n")[number - 1].strip()
        raise ConfigError(path, f"{line!r} is neither `key = value` nor [section]", where=f"line {number}") from None
    return [Section(path, name, dict(parser.items(name))) for name in parser.sections()]
