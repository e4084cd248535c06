"""Texts with placeholders such as {id}, which are replaced for each device."""

from collections.abc import Collection, Mapping
from string import Formatter

FACTS = ("name", "serial", "port", "pci", "vendor", "product")
"""What identifies the hardware: the name of its first file, and the serial number, USB port, PCI address and ids that
sysfs shows; empty if it shows none."""

OF_DEVICE = ("id", "index", *FACTS)
"""Also the id of the device, and its number in the resource."""

ON_NODE = (*OF_DEVICE, "host_path", "host_paths")
"""Also the paths of its files on the node: of the first, and of all, separated by commas."""

IN_CONTAINER = (*ON_NODE, "path", "paths", "share")
"""Also the paths in the container, and the number of the share."""


def fill_in(template: str, values: Mapping[str, object]) -> str:
    """Replace the placeholders of a template that `check_template` accepts."""
    return template.format_map(values)


def check_template(template: str, known: Collection[str]) -> None:
    """Check that a template has no placeholders other than the known ones.

    Raises:
        ValueError: it has, or has more in the braces than a name: a width, for example, may have any size.
    """
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise _invalid(template, known, str(error)) from None
    for _, name, width, conversion in fields:
        if name not in known or width or conversion:
            raise _invalid(template, known, f"{{{name}}} is unknown")


def _invalid(template: str, known: Collection[str], problem: str) -> ValueError:
    names = ", ".join(f"{{{name}}}" for name in known)
    return ValueError(f'"{template}" is not a valid template ({problem}), expected no placeholders other than {names}')
