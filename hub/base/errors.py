"""Errors whose text is meant for the person who runs the hub."""

from pathlib import Path


class HubError(Exception):
    """Something a person can mend: the text says what happened, to what, and what to do."""


class ConfigError(HubError):
    """A file or flag that cannot be used.

    Args:
        source: The file (or the flag, or the environment variable) at fault.
        problem: What is wrong with it, and what was expected.
        where: The key, section or line inside the file, if there is one.
    """

    def __init__(self, source: Path | str, problem: str, *, where: str = "") -> None:
        super().__init__(": ".join(part for part in (str(source), where, problem) if part))


def read_config_text(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: the file is missing, unreadable, no file, empty, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(path, "no such file") from None
    except IsADirectoryError:
        raise ConfigError(path, "is a directory, expected a file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(path, f"not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from None
    if not text.strip():
        raise ConfigError(path, "is empty")
    return text
