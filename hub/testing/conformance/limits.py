"""How long a check waits."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds."""

    start: float = 20.0
    """From the start of the plugin to its registration."""
    answer: float = 10.0
    """For one call; a plugin that takes longer counts as hanging. The kubelet waits indefinitely."""
    dial: float = 10.0
    """For a plugin that registers to accept a connection: the kubelet's own limit."""
    pre_start: float = 30.0
    """For PreStartContainer: the kubelet's own limit."""
    quick: float = 1.0
    """For whatever keeps pods waiting or rejects them."""
    back: float = 10.0
    """For a plugin to come back after a fault."""
    stop: float = 10.0
    """From SIGTERM to the end of the process."""
    watch: float = 5.0
    """How long the plugin's list is watched. Not a limit: it always takes this long."""
    settle: float = 1.0
    """How long a plugin is watched after it has come back. Not a limit, as above."""

    def scaled(self, factor: float) -> "Limits":
        """Return limits for a machine that is slower by this factor; the kubelet's own limits stay."""
        return replace(
            self,
            start=self.start * factor,
            answer=self.answer * factor,
            quick=self.quick * factor,
            back=self.back * factor,
            stop=self.stop * factor,
        )
