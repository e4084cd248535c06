"""Parses YAML: each error names the line, and there are limits on what a small file can expand to.

Only a plugin with a YAML file loads this module: PyYAML takes 1 MB.
"""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hub.api.limits import MAX_CHARACTERS, MAX_LEVELS, MAX_VALUES, MAX_YAML_BYTES, check_number, too_deep
from hub.base.errors import ConfigError


def parse_yaml(path: Path | str, text: str) -> object:
    """Return the value of a YAML document.

    Args:
        path: The file, or whatever else errors name as the location of the text.
        text: Its content.

    Raises:
        ConfigError: it is not YAML, has a duplicate key, or exceeds a limit.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ConfigError(path, f"too large, expected at most {MAX_YAML_BYTES} bytes")
    try:
        loader = _Loader(path, text)
        root = loader.get_single_node()
        if root is None:
            return None
        _Expansion(path).measure(root)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(path, f"invalid YAML: {error.problem}", where=_line(error.problem_mark)) from None
    except yaml.reader.ReaderError as error:
        line = f"line {text.count(chr(10), 0, error.position) + 1}"
        raise ConfigError(path, f"invalid YAML: {error.reason}", where=line) from None


class _Loader(yaml.SafeLoader):
    """Loads only YAML's standard types.

    Args:
        path: The file.
        text: Its content.
    """

    def __init__(self, path: Path | str, text: str) -> None:
        super().__init__(text)
        self._path = path
        self._levels = 0

    def get_single_node(self) -> yaml.Node | None:
        """Compose the document; the error for a number that PyYAML cannot convert names the line."""
        try:
            return super().get_single_node()
        # PyYAML does not handle the errors of `chr` and `int`: for an escape such as "\UFFFFFFFF", or for the number in
        # a %YAML directive.
        except (ValueError, OverflowError):
            mark = self.get_mark()
            problem = "invalid YAML: the number in an escape or a directive is too large"
            raise ConfigError(self._path, problem, where=_line(mark)) from None

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a value, unless it is nested too deeply for Python."""
        self._levels += 1
        if self._levels > MAX_LEVELS:
            event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs of yaml lack its type
            raise too_deep(self._path, _line(event.start_mark))
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - yaml's own
        """Convert a value to Python; the error for a value that its tag does not allow names the line."""
        try:
            value = super().construct_object(node, deep)
            check_number(value)
        except (ConfigError, yaml.YAMLError):
            raise
        # PyYAML lets any exception of its conversions through, such as IndexError for `!!int ""`.
        except Exception as error:  # noqa: BLE001 - see above
            what = str(error) if isinstance(error, ValueError) else f"{node.value!r:.40} is not {node.tag}"
            raise ConfigError(self._path, f"invalid YAML: {what}", where=_line(node.start_mark)) from None
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - yaml's own
        """Reject duplicate keys; YAML's own loader silently keeps the last one."""
        names = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in names:
                raise ConfigError(self._path, f'duplicate key "{key.value}"', where=_line(key.start_mark))
            names.add(key.value)
        return super().construct_mapping(node, deep)


class _Size(NamedTuple):
    """What a value expands to."""

    values: int
    characters: int
    levels: int


class _Expansion:
    """Measures what a document expands to, visiting each value only once, however many aliases it has.

    Args:
        path: The file.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._known: dict[int, _Size | None] = {}
        """Keyed by node; None while a node is being measured."""

    def measure(self, node: yaml.Node) -> _Size:
        """Return what a node expands to.

        Raises:
            ConfigError: it exceeds a limit, or contains itself.
        """
        if id(node) in self._known:
            found = self._known[id(node)]
            if found is None:
                raise ConfigError(self._path, "contains itself, through an alias", where=_line(node.start_mark))
            return found
        self._known[id(node)] = None
        inside = [self.measure(part) for part in _parts(node)]
        size = _Size(
            values=1 + sum(part.values for part in inside),
            characters=sum(part.characters for part in inside) + _characters(node),
            levels=1 + max((part.levels for part in inside), default=0),
        )
        self._check(size, _line(node.start_mark))
        self._known[id(node)] = size
        return size

    def _check(self, size: _Size, line: str) -> None:
        for count, limit, unit in (
            (size.values, MAX_VALUES, "values"),
            (size.characters, MAX_CHARACTERS, "characters"),
        ):
            if count > limit:
                raise ConfigError(self._path, f"expands to more than {limit} {unit}", where=line)
        if size.levels > MAX_LEVELS:
            raise too_deep(self._path, line)


def _characters(node: yaml.Node) -> int:
    return len(node.value) if isinstance(node, yaml.ScalarNode) else 0


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _line(mark: Any) -> str:  # noqa: ANN401 - yaml has no type for it that is never None
    return f"line {mark.line + 1}" if mark else ""
