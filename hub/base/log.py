"""Logging: one line per event, as JSON for machines or as text on a terminal."""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar, cast

from hub.base.errors import ConfigError
from hub.base.imports import without_packages
from hub.base.logfile import LogFile, StandardError
from hub.base.printable import printable, printable_lines

if TYPE_CHECKING:
    import structlog
else:
    # structlog loads rich only to color tracebacks, at a cost of 4 MB and 30 ms for each process, and greenlet only for
    # programs that use it.
    with without_packages("rich", "greenlet"):
        import structlog

LEVEL_VARIABLE = "DPHUB_LOG_LEVEL"
FORMAT_VARIABLE = "DPHUB_LOG_FORMAT"

_LIBRARY_SECONDS = 60.0
"""Minimum seconds between two lines of the same gRPC logger."""

Logger = structlog.typing.FilteringBoundLogger


class LogFormat(StrEnum):
    """The format of log lines."""

    AUTO = "auto"
    """Text on a terminal, JSON elsewhere."""
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The levels of log events; events below the chosen one are not logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _Current:
    level = LogLevel.INFO


Choice = TypeVar("Choice", LogLevel, LogFormat)


def configure(
    level: LogLevel | None = None, form: LogFormat | None = None, *, keep: Path | None = None, **bound: str
) -> None:
    """Set up structlog, and Python's own logging through it, for this process.

    Args:
        level: The least severe event to log; by default from the environment, or info.
        form: The format of lines; by default from the environment, otherwise by whether the output is a terminal.
        keep: A file for the latest lines, always JSON.
        bound: Fields of every line of this process.

    Raises:
        ConfigError: the environment contains an invalid level or format.
    """
    level = level or _from_environment(LEVEL_VARIABLE, LogLevel.INFO)
    form = form or _from_environment(FORMAT_VARIABLE, LogFormat.AUTO)
    structlog.configure(
        processors=[
            _carrying(bound),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([_Keeper(keep)] if keep else []),
            *_renderers(form),
        ],
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", StandardError())),
    )
    set_level(level)


def _carrying(bound: Mapping[str, str]) -> structlog.typing.Processor:
    """Add fields, without context variables, which threads of plugins and of their libraries do not inherit."""
    return lambda _logger, _method, event: {**bound, **event}


def set_level(level: LogLevel) -> None:
    """Log events of this level and above."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(threshold))
    # Libraries log a lot at info level that no administrator needs.
    logging.basicConfig(handlers=[_ToStructlog()], level=max(threshold, logging.WARNING), force=True)
    _Current.level = level


def current_level() -> LogLevel:
    """Return the least severe level that is logged."""
    return _Current.level


def get_logger(**bound: str) -> Logger:
    """Return a logger whose lines have these fields."""
    logger: Logger = structlog.get_logger(**bound)
    return logger


def _from_environment(variable: str, default: Choice) -> Choice:
    value = os.environ.get(variable, default)
    try:
        return type(default)(value)
    except ValueError:
        raise ConfigError(variable, f'is "{value}", expected one of {", ".join(type(default))}') from None


def _renderers(form: LogFormat) -> list[structlog.typing.Processor]:
    if form is LogFormat.JSON or (form is LogFormat.AUTO and not sys.stderr.isatty()):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [console_renderer(colors=sys.stderr.isatty())]


def console_renderer(*, colors: bool) -> structlog.typing.Processor:
    """Return a renderer of events as human-readable text: one line each, then an exception or a stack, indented."""
    render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)

    def rendered(logger: object, method: str, event: structlog.typing.EventDict) -> str:
        event = structlog.processors.format_exc_info(logger, method, event)
        return str(render(logger, method, {printable(name): _plain(name, value) for name, value in event.items()}))

    return rendered


def _plain(name: str, value: object) -> str:
    if name in {"exception", "stack"}:
        return printable_lines(str(value), indent="    ")
    return printable(value if isinstance(value, str) else repr(value))


class _Keeper:
    """Writes each event to a file before it is rendered."""

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)

    def __call__(self, logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        self._file.write(dict(structlog.processors.format_exc_info(logger, method, dict(event))))
        return event


class _ToStructlog(logging.Handler):
    """Passes what libraries log with Python's logging to structlog.

    Clients can make gRPC log as often as they like, and so fill the log. Each of its loggers gets one line a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[str] = Counter()
        self._next: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        log = get_logger(library=record.name)
        if record.name.startswith("grpc"):
            self._counts[record.name] += 1
            if time.monotonic() < self._next.get(record.name, 0):
                return
            self._next[record.name] = time.monotonic() + _LIBRARY_SECONDS
            log = log.bind(count=self._counts.pop(record.name))
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)
