"""Errors whose text is meant for the administrator of the hub."""

from pathlib import Path


class HubError(Exception):
    """An error that a person can fix: the text says where it is, what is wrong, and what to do."""


class ConfigError(HubError):
    """A file or flag that cannot be used.

    Args:
        source: The file, flag or environment variable.
        problem: What is wrong with it, and what was expected.
        where: The key, section or line in the file, if there is one.
    """

    def __init__(self, source: Path | str, problem: str, *, where: str = "") -> None:
        super().__init__(": ".join(part for part in (str(source), where, problem) if part))


def read_config_text(path: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        ConfigError: the path does not exist, cannot be read, is not a file, or is empty or not UTF-8.
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
