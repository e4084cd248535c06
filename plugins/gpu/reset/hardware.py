"""Reset the GPU itself with nvidia-smi."""

from hub import ProgramFailed, ResetFailed, Runtime
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.driverlock import exclusive_driver
from plugins.gpu.nvml.programs import run_driver_program
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.reset.target import open_target
from plugins.gpu.reset.unused import require_unused

SMI_TIMEOUT = 16.0
"""Seconds for nvidia-smi. Together with all other steps this stays within the time for the resets of a container."""

RELEASE_TIMEOUT = 3.0
"""Seconds for the plugin to end its session with the driver."""


def reset_hardware(paths: DriverPaths, uuid: str, settings: ResetSettings, runtime: Runtime) -> None:
    """Reset the GPU, and check that it responds again.

    Raises:
        ResetFailed: the GPU was not reset, or does not respond.
    """
    try:
        with exclusive_driver(runtime, RELEASE_TIMEOUT):
            run_driver_program(paths, "nvidia-smi", ["--gpu-reset", "-i", uuid], timeout=SMI_TIMEOUT)
    except TimeoutError:
        raise ResetFailed(f"the plugin did not release the driver within {RELEASE_TIMEOUT:g} s") from None
    except ProgramFailed as failed:
        raise ResetFailed(f"the GPU was not reset: {failed}") from failed
    with open_target(paths, uuid) as target:
        require_unused(target, settings)
