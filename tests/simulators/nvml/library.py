"""The simulated driver library, compiled against NVIDIA's own header."""

import hashlib
import importlib.metadata
import os
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def simulated_library() -> Path:
    """Return the library, which is compiled if it does not exist yet; its file has the name of the driver's."""
    header = _header()
    sources = sorted(HERE.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in [*sources, header])).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"dphub-nvml-{os.getuid()}-{digest}" / "libnvidia-ml.so.1"
    if not built.exists():
        built.parent.mkdir(mode=0o700, exist_ok=True)
        scratch = built.with_suffix(f".{os.getpid()}")
        _compile([file for file in sources if file.suffix == ".c"], header.parent, scratch)
        scratch.replace(built)
    return built


def _header() -> Path:
    """Return the path of nvml.h in the package with NVIDIA's development files."""
    for file in importlib.metadata.files("nvidia-nvml-dev") or ():
        if file.name == "nvml.h":
            return Path(str(file.locate()))
    raise FileNotFoundError("nvml.h: install nvidia-nvml-dev")


def _compile(sources: list[Path], include: Path, target: Path) -> None:
    flags = ["-shared", "-fPIC", "-O1", "-g", "-pthread", "-Wl,-soname,libnvidia-ml.so.1"]
    # Drivers still have the functions that NVIDIA has deprecated.
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"]
    subprocess.run(["cc", *flags, *warnings, f"-I{include}", "-o", str(target), *map(str, sources)], check=True)
