"""The resource that a bare plugin serves."""

import msgspec


class BareResource(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource; its devices are healthy and always the same."""

    name: str
    devices: int
    """The number of devices; their ids are the numbers from 0."""
    prefer: int = 0
    """How many devices a preferred allocation has; 0 for a plugin without a preference."""
    libraries: tuple[str, ...] = ()
    """Libraries that the plugin loads in addition to those of every plugin."""

    @property
    def ids(self) -> list[str]:
        """The ids of its devices."""
        return [str(number) for number in range(self.devices)]
