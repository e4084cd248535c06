"""Generate the specification of the GPUs with NVIDIA's container toolkit, which knows best what the driver needs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from hub import ProgramFailed, run_program
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.cdi.hooks import tool_in_process
from plugins.gpu.cdi.spec import gpu_names
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.nvml.programs import driver_variables
from plugins.gpu.settings.file import GPUSettings

PROGRAM = "nvidia-ctk"

TIMEOUT = 8.0
"""Seconds that the program may take; less than the time that a scan is allowed beyond the driver's calls."""

MAX_OUTPUT = 4 << 20
"""Maximum size of a specification in bytes; one for 16 GPUs takes up about 100 KB."""

_Path = Annotated[str, msgspec.Meta(pattern="^/", extra={"expected": "an absolute path"})]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a specification, as CDI 1.1 defines it."""


class _Node(_Part, frozen=True):
    path: _Path
    host_path: _Path = "/"
    type: Literal["b", "c", "u", "p", ""] = ""
    major: int = 0
    minor: int = 0
    file_mode: int = 0
    permissions: str = ""
    uid: int = 0
    gid: int = 0


class _Mount(_Part, frozen=True):
    host_path: _Path
    container_path: _Path
    options: tuple[str, ...] = ()
    type: str = ""


class _Hook(_Part, frozen=True):
    hook_name: str
    path: _Path
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int = 0


class _Edits(_Part, frozen=True):
    env: tuple[str, ...] = ()
    device_nodes: tuple[_Node, ...] = ()
    mounts: tuple[_Mount, ...] = ()
    hooks: tuple[_Hook, ...] = ()
    additional_gids: tuple[int, ...] = msgspec.field(default=(), name="additionalGids")


class _Device(_Part, frozen=True):
    name: str
    container_edits: _Edits
    annotations: dict[str, str] = {}


class _Specification(_Part, frozen=True):
    cdi_version: str
    kind: Literal["k8s.device-plugin.nvidia.com/gpu"]
    devices: tuple[_Device, ...]
    container_edits: _Edits = _Edits()
    annotations: dict[str, str] = {}


def find_toolkit(settings: GPUSettings, paths: DriverPaths) -> str:
    """Return where this process sees the toolkit's program; empty if the node does not have it."""
    tool = settings.flags.plugin.nvidia_ctk_path
    return tool_in_process(paths, f"{tool.rpartition('/')[0]}/{PROGRAM}")


def generate(program: str, settings: GPUSettings, paths: DriverPaths, gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Generate the specification of the GPUs with the toolkit, and check it.

    Raises:
        ProgramFailed: the toolkit failed, or its specification is not what was requested.
    """
    flags = settings.flags
    hook = flags.plugin.nvidia_ctk_path
    args = [
        *("cdi", "generate", "--format=json", "--output=", f"--vendor={CDI_VENDOR}", "--class=gpu"),
        f"--device-name-strategy={flags.plugin.device_id_strategy}",
        f"--driver-root={paths.driver('/')}",
        f"--dev-root={paths.device('/')}",
        f"--nvidia-cdi-hook-path={hook}",
        *(f"--disable-hook={name}" for name in settings.dphub.cdi.disable_hooks),
        *(f"--feature-flag={name}" for name in settings.dphub.cdi.feature_flags),
    ]
    text = run_program([program, *args], timeout=TIMEOUT, env=driver_variables(paths), max_output=MAX_OUTPUT)
    roots = {str(paths.driver("/")): str(paths.driver_root), str(paths.device("/")): str(paths.dev_root)}
    spec: dict[str, Any] = _on_node(_parsed(text), roots)
    # The toolkit does not define GPUs that are partitioned into MIG devices.
    names = {name for name, (gpu, mig) in gpu_names(settings, gpus).items() if mig or not gpu.mig}
    _check(spec, names, hook)
    return spec


def _parsed(text: str) -> dict[str, Any]:
    # The toolkit's log lines may surround the specification.
    start = 0 if text.startswith("{") else text.find("\n{") + 1
    try:
        spec, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        output = " ".join(text[:200].split()) or "no output"
        raise ProgramFailed(f"{PROGRAM} did not write valid JSON: {output}") from None
    return spec if isinstance(spec, dict) else {}


def _on_node(value: Any, roots: Mapping[str, str]) -> Any:  # noqa: ANN401 - any part of a specification
    """Return a specification with the node's own paths, in place of the paths of the same files in this process."""
    if isinstance(value, list):
        return [_on_node(part, roots) for part in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _on_node(part, roots) for key, part in value.items()}
    if isinstance(value.get("hostPath"), str):
        changed["hostPath"] = _path_on_node(value["hostPath"], roots)
    return changed


def _path_on_node(path: str, roots: Mapping[str, str]) -> str:
    for here, there in sorted(roots.items(), key=lambda root: len(root[0]), reverse=True):
        if Path(path).is_relative_to(here):
            return str(Path(there) / Path(path).relative_to(here))
    return path


def _check(spec: dict[str, Any], names: set[str], hook: str) -> None:
    try:
        checked = msgspec.convert(spec, _Specification)
    except msgspec.ValidationError as error:
        raise ProgramFailed(f"{PROGRAM} wrote a specification that is not valid: {error}") from None
    if missing := names - {device.name for device in checked.devices}:
        raise ProgramFailed(f"{PROGRAM} wrote a specification without {', '.join(sorted(missing))}")
    edits = [checked.container_edits, *(device.container_edits for device in checked.devices)]
    hooks = {each.path for part in edits for each in part.hooks}
    if other := hooks - {hook}:
        raise ProgramFailed(f"{PROGRAM} wrote a specification with hooks other than {hook}: {', '.join(sorted(other))}")
