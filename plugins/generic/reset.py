"""Reset devices with the commands from the settings, in a reset's process."""

from typing import Any

import msgspec

from hub import ProgramFailed, ResetDevice, ResetFailed, run_program


class ResetCommand(msgspec.Struct, frozen=True):
    """The command that resets a device."""

    command: tuple[str, ...]
    timeout: float


ResetCommands = dict[str, ResetCommand]
"""The commands, by the id of the physical device."""


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - ResetCommands as decoded from JSON
    """Run the command of a device.

    Raises:
        ResetFailed: the command failed, so the container must not start.
    """
    commands = msgspec.convert(settings, ResetCommands)
    if device.id not in commands:
        raise ResetFailed("the device was removed")
    found = commands[device.id]
    try:
        run_program(found.command, timeout=found.timeout)
    except ProgramFailed as error:
        raise ResetFailed(str(error)) from None
