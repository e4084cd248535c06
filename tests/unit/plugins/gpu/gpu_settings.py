"""Settings of the GPU plugin."""

from pathlib import Path

from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.notes import notes
from plugins.gpu.settings.xids import XidMeaning


def read_settings(tmp_path: Path, text: str) -> GPUSettings:
    """Read gpu.yaml with this text."""
    (tmp_path / "gpu.yaml").write_text(text)
    return GPUSettings.read(tmp_path / "gpu.yaml")


I, R, F = XidMeaning.IGNORE, XidMeaning.RECOVER, XidMeaning.FATAL  # noqa: E741 - a table is read by its columns


def notes_of(tmp_path: Path, text: str, **environment: str) -> list[str]:
    """Return the notes on gpu.yaml with this text, and on these variables."""
    return list(notes(read_settings(tmp_path, text), environment))
