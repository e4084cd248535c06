"""What a broken gRPC service of another program may return."""

from hub import message_fields
from tests.fuzz.choices import Choices, edited
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Target
from tests.fuzz.targets.podresources import answer


class ServiceMessage(Target):
    """A message of any bytes has fields, or is an error for the plugin; a field may contain a message itself."""

    inputs = 350

    def make(self, choices: Choices) -> Input:
        """Create a message, and change the bytes of three out of four."""
        content = answer(choices)
        return [Piece.of(edited(choices, content) if choices.below(4) else content)]

    def consume(self, pieces: Input) -> None:
        """Decode the message, and the messages in its fields."""
        for values in message_fields(pieces[0].content).values():
            for value in values:
                if isinstance(value, bytes):
                    message_fields(value)
