"""What a bare plugin serves."""

import msgspec


class BareResource(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource; its devices are healthy and always the same."""

    name: str
    devices: int
    """How many; their ids are numbers, from 0 on."""
    prefer: int = 0
    """How many devices its preference has; 0 for a plugin without preference."""
    libraries: tuple[str, ...] = ()
    """More libraries, which the plugin loads in addition to those of every plugin."""

    @property
    def ids(self) -> list[str]:
        """The ids of its devices."""
        return [str(number) for number in range(self.devices)]
