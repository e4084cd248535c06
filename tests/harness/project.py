"""The location of the project."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
"""The root of the checkout."""
