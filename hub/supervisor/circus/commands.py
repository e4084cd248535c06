"""Commands that the hub adds to those of circus, on the same socket."""

from typing import Any, ClassVar

from circus.commands.base import Command
from circus.exc import MessageError


class RejectConfig(Command):  # type: ignore[misc] # circus has no types
    """A command to record an error that `dphub reload` found in a configuration, for which it requests no reload.

    circus discovers commands by their class; importing this module is enough.
    """

    name = "rejectconfig"
    options: ClassVar[list[Any]] = []
    properties: ClassVar[list[str]] = ["problem"]

    def execute(self, arbiter: Any, props: dict[str, Any]) -> None:  # noqa: ANN401 - a HubArbiter, whose module imports this one
        """Run the command; called by circus."""
        arbiter.reject_config(props["problem"])

    def validate(self, props: dict[str, Any]) -> None:
        """Check the properties; called by circus."""
        if not isinstance(props.get("problem"), str):
            raise MessageError("rejectconfig needs a problem")
