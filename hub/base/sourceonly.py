"""Makes imports from the directory of a plugin's file run only source files, and as root only those owned by root.

By default, Python prefers the compiled code in `__pycache__` next to a file. Another user may have left it there, in a
directory that was theirs before.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec
from importlib.machinery import SourceFileLoader as _SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from hub.base.trust import check_trusted


class SourceLoader(_SourceFileLoader):
    """Compiles a module's file, and leaves no compiled code next to it."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - importlib's signature
        """Compile the file."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def import_source_from(directory: Path) -> None:
    """Allow imports from a directory, which is searched after all others."""
    _find_source_in(str(directory))
    sys.path.append(str(directory))


def source_directories() -> tuple[str, ...]:
    """Return the directories that were given to `import_source_from`."""
    return tuple(each for each in dict.fromkeys(sys.path) if isinstance(sys.path_importer_cache.get(each), _Finder))


class _Finder(FileFinder):
    """Finds the modules in one directory, and makes Python find those in its packages in the same way."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, target)
        if spec is None:
            return None
        if spec.origin:
            check_trusted(Path(spec.origin))
        for package in spec.submodule_search_locations or ():
            check_trusted(Path(package))
            _find_source_in(package)
        return spec


def _find_source_in(directory: str) -> None:
    loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceLoader, SOURCE_SUFFIXES)
    # Python looks here first. Installed packages keep their compiled code, even below the directory.
    sys.path_importer_cache[directory] = _Finder(directory, *loaders)
