"""A reset of the GPU itself, by NVIDIA's own program."""

from hub import ResetFailed, Runtime
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.driverlock import exclusive_driver
from plugins.gpu.nvml.programs import ProgramFailed, run_program
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.reset.target import open_target
from plugins.gpu.reset.unused import require_unused

LIMIT = 16.0
"""Seconds for nvidia-smi. With all else that is done it stays within the time of a container's resets."""

LET_GO = 3.0
"""Seconds for the plugin to end its session with the driver."""


def reset_hardware(paths: DriverPaths, uuid: str, settings: ResetSettings, runtime: Runtime) -> None:
    """Reset the GPU, and see that it answers again.

    Raises:
        ResetFailed: it was not reset, or does not answer.
    """
    try:
        with exclusive_driver(runtime, LET_GO):
            run_program(paths, "nvidia-smi", ["--gpu-reset", "-i", uuid], timeout=LIMIT)
    except TimeoutError:
        raise ResetFailed(f"the plugin has not let go of the driver within {LET_GO:g} s") from None
    except ProgramFailed as failed:
        raise ResetFailed(f"the GPU was not reset: {failed}") from failed
    with open_target(paths, uuid) as target:
        require_unused(target, settings)
