"""What the hub understands beside the commands of circus, on the same socket."""

from typing import Any, ClassVar

from circus.commands.base import Command
from circus.exc import MessageError


class RejectConfig(Command):  # type: ignore[misc] # circus has no types
    """Remember why a configuration was not loaded: who checked it found it wrong, and asks for no reload.

    circus finds commands by their class; to import this module is enough.
    """

    name = "refuse"
    options: ClassVar[list[Any]] = []
    properties: ClassVar[list[str]] = ["problem"]

    def execute(self, arbiter: Any, props: dict[str, Any]) -> None:  # noqa: ANN401 - a HubArbiter, which imports this
        """Called by circus."""
        arbiter.refuse_config(props["problem"])

    def validate(self, props: dict[str, Any]) -> None:
        """Called by circus."""
        if not isinstance(props.get("problem"), str):
            raise MessageError("refuse needs a problem")
