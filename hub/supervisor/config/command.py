"""The commands of plugins: the words of `cmd` and `args`, with their variables replaced.

circus replaces the variables each time it starts a process. Here they are replaced when the configuration is read: what
is checked is what is run.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import dropwhile
from pathlib import Path

from hub.base.untrusted import is_there

MAX_CHARACTERS = 1 << 14
"""Maximum length of a command: Python needs quadratic time to split one into words, while the hub waits."""

SAFE_PATH = "-P"
"""The interpreter's option not to import anything from the working directory."""

_MODULE = "-m"
_HUB_PLUGIN = [_MODULE, "hub.plugin"]

_HUB_FLAGS = {"--check", "--hardware", "--name", "--plugin-dir", "--run-dir", "--scan", "--shipped-only"}
"""Flags that the hub itself passes to its plugin processes, some of them through variables."""

_VARIABLE = re.compile(r"\$\(circus\.([\w.-]*)\)|\(\(circus\.([\w.-]*)\)\)", re.IGNORECASE)
"""The two ways in which circus.ini refers to a variable."""


def split_words(text: str) -> list[str]:
    """Return the words of a command line.

    Raises:
        ValueError: it is too long, or not a command line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters, expected at most {MAX_CHARACTERS}")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"not a command line: {error}") from None


def command_words(cmd: str, args: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the program and its arguments.

    Args:
        cmd: The value of `cmd`.
        args: The value of `args`; empty if there is none.
        variables: The values of `$(circus.env.NAME)`. As in circus, the case of the names has no effect.

    Raises:
        ValueError: it is not a command, or an argument cannot be right. The text quotes no value of a variable.
    """
    line = _replaced(f"{cmd} {args}", {name.lower(): value for name, value in variables.items()})
    words = tuple(split_words(line))
    if not words:
        raise ValueError("empty, expected the command that runs the plugin")
    if _are_quoted_together(words):
        raise ValueError("several words in one pair of quotes; quote each argument separately")
    arguments = plugin_arguments(words)
    if arguments is not None and (ours := sorted({word.partition("=")[0] for word in arguments} & _HUB_FLAGS)):
        raise ValueError(f"{ours[0]}: the hub sets this; remove it")
    return words


def plugin_arguments(words: Sequence[str]) -> Sequence[str] | None:
    """Return the arguments of `python -m hub.plugin` in a command; None if it is another program.

    The interpreter may have any name, and options such as `-u`, each in one word.
    """
    module = list(dropwhile(lambda word: word.startswith("-") and word != _MODULE, words[1:]))
    return module[2:] if module[:2] == _HUB_PLUGIN else None


def _replaced(line: str, variables: Mapping[str, str]) -> str:
    """Replace the variables, without looking for others in their values.

    Raises:
        ValueError: a variable is unknown, or the line becomes too long.
    """
    size = 0

    def value(found: re.Match[str]) -> str:
        nonlocal size
        name = found[1] or found[2] or ""
        kind, _, variable = name.partition(".")
        if kind.lower() != "env":
            raise ValueError(f"unknown variable circus.{name}, expected $(circus.env.NAME)")
        if variable.lower() not in variables:
            raise ValueError(f"the variable {variable} is set neither in [env] nor for the hub")
        text = variables[variable.lower()]
        size += len(text)
        if size > MAX_CHARACTERS:
            raise ValueError(f"has more than {MAX_CHARACTERS} characters after its variables are replaced")
        return text

    return _VARIABLE.sub(value, line)


def _are_quoted_together(words: Sequence[str]) -> bool:
    """Return whether a program or an argument is certainly followed by others within the same quotes.

    An error about a missing program, plugin or file would quote all of them, and one may be a password.
    """
    if re.search(r"\s", words[0]) and not is_there(Path(words[0])):
        return True
    return any(re.search(r"\s-", argument) for argument in plugin_arguments(words) or ())
