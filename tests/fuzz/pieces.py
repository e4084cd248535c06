"""The input of a target: one message after another, or several files of a directory."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from tests.fuzz.choices import Choices, edited, edited_json


class Kind(StrEnum):
    """The kind of file at a path."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    FIFO = "fifo"
    ABSENT = "absent"


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message, or a file of a directory."""

    text: str = ""
    """The content, or the target of a link: one character for each byte (Latin-1), so that a finding can be read."""
    name: str = ""
    """The path of a file, in the same encoding."""
    kind: Kind = Kind.FILE

    @classmethod
    def of(cls, content: bytes, name: str = "") -> "Piece":
        """Create a piece with this content."""
        return cls(content.decode("latin-1"), name)

    @property
    def content(self) -> bytes:
        """The content."""
        return self.text.encode("latin-1")


Input = Sequence[Piece]
"""What a target consumes at once."""

LINKS = ("/dev/zero", "/etc/passwd", "missing", ".", "..", "itself", "/")
"""Targets of links that lead out of a directory, in circles or nowhere."""


def edited_files(choices: Choices, valid: Mapping[str, bytes], names: Sequence[str] = ()) -> Input:
    """Change one to three files of a directory.

    Args:
        choices: The recipe.
        valid: The files of the unchanged directory, with their contents.
        names: More names that a file may have.
    """
    known = [*valid, *names]
    pieces = []
    for _ in range(1 + choices.below(3)):
        name = choices.of(known)
        content = valid.get(name) or choices.of(list(valid.values()))
        action = choices.below(16)
        if action == 15:
            pieces.append(_of_another_kind(choices, name))
        elif action == 14:
            pieces.append(Piece.of(choices.of(list(valid.values())), name))
        elif content.startswith(b"{") and action < 8:
            # A log has a JSON document on each line.
            lines = content.splitlines(keepends=True)
            number = choices.below(len(lines))
            lines[number] = edited_json(choices, msgspec.json.decode(lines[number])) + b"\n"
            pieces.append(Piece.of(b"".join(lines), name))
        else:
            pieces.append(Piece.of(edited(choices, content), name))
    return pieces


def _of_another_kind(choices: Choices, name: str) -> Piece:
    kind = choices.of((Kind.ABSENT, Kind.DIRECTORY, Kind.LINK, Kind.FIFO, Kind.LINK))
    target = choices.of(LINKS) if kind is Kind.LINK else ""
    return Piece(name.rpartition("/")[2] if target == "itself" else target, name, kind)


class Directory:
    """A directory whose files are changed for one input, and then restored.

    Args:
        root: Where it is created.
        valid: Its unchanged files.
    """

    def __init__(self, root: Path, valid: Iterable[Piece]) -> None:
        self.root = root
        self._valid = {piece.name: piece for piece in valid}
        self._changed: set[str] = set()
        self.reset()

    def change(self, pieces: Input) -> None:
        """Restore the directory, and then change these files. A piece that no file system can hold is left out."""
        self.restore()
        for piece in pieces:
            self._changed.add(piece.name)
            with suppress(OSError, ValueError):
                self._put(piece)

    def restore(self) -> None:
        """Restore the files that `change` has changed."""
        for name in self._changed:
            with suppress(OSError, ValueError):
                self._put(self._valid.get(name) or Piece(name=name, kind=Kind.ABSENT))
        self._changed.clear()

    def reset(self) -> None:
        """Remove everything, including what others have written, and create the directory again."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self._changed.clear()
        for piece in self._valid.values():
            self._put(piece)

    def _put(self, piece: Piece) -> None:
        path = os.path.join(os.fsencode(self.root), piece.name.encode("latin-1"))  # noqa: PTH118 - pathlib has no bytes
        _remove(path)
        if piece.kind is Kind.ABSENT:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - as above
        if piece.kind is Kind.DIRECTORY:
            os.mkdir(path)  # noqa: PTH102 - as above
        elif piece.kind is Kind.LINK:
            os.symlink(piece.content, path)  # noqa: PTH211 - as above
        elif piece.kind is Kind.FIFO:
            os.mkfifo(path)
        else:
            with open(path, "wb") as file:  # noqa: PTH123 - as above
                file.write(piece.content)


def _remove(path: bytes) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - as above
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(path)
