"""What the scenarios measured, printed at the end of a run."""


class Figures:
    """Lines of figures, in the order in which they were measured."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, scenario: str, text: str) -> None:
        """Add a line."""
        self.lines.append(f"{scenario:<24} {text}")


FIGURES = Figures()
"""The figures of this run."""
