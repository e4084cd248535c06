"""Resets of GPUs before a container starts. They run in a separate process (see `hub.reset`)."""

from typing import Any

import msgspec

from hub import Host, ResetDevice, ResetFailed
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.reset.output import say
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.settings.levels import ResetLevel


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - ResetSettings as decoded from JSON
    """Prepare a GPU or MIG device for a container, as far as the reset level of its resource requires.

    Raises:
        ResetFailed: the device is not ready, and the container must not start.
    """
    # Imported here: importing this module to find the function must not load NVML.
    from plugins.gpu.reset.cleaning import clean  # noqa: PLC0415 - see above
    from plugins.gpu.reset.hardware import reset_hardware  # noqa: PLC0415 - see above
    from plugins.gpu.reset.target import open_target  # noqa: PLC0415 - see above
    from plugins.gpu.reset.unused import require_unused  # noqa: PLC0415 - see above

    settings = msgspec.convert(settings, ResetSettings)
    level = settings.levels.get(device.id, ResetLevel.OFF)
    paths = DriverPaths(Host(device.host_root), settings.driver_root, settings.dev_root, settings.container_driver_root)
    obstacle = ""
    if not device.broken or level is not ResetLevel.RESET:
        with open_target(paths, device.id) as target:
            require_unused(target, settings)
            if level in {ResetLevel.CLEAN, ResetLevel.RESET}:
                clean(target)
            obstacle = target.reset_blocked() if level is ResetLevel.RESET else ""
    if level is ResetLevel.RESET and not obstacle:
        reset_hardware(paths, device.id, settings, device.runtime)
    elif obstacle:
        say(f"the GPU itself was not reset: {obstacle}")
    if device.broken and level is not ResetLevel.RESET:
        raise ResetFailed(f"{device.broken}; only a reset of the GPU can fix this, but the reset level is {level}")
