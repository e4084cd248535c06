"""Templates in settings: strings with placeholders such as {id}, which are replaced for each device."""

from collections.abc import Collection, Mapping
from string import Formatter


def check_template(template: str, names: Collection[str]) -> None:
    """Check that a template has no placeholders other than these.

    Raises:
        ValueError: it has other placeholders, or more than a name in the braces: a width, for example, could have any
            size.
    """
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise _invalid(template, names, str(error)) from None
    for _, name, width, conversion in fields:
        if name not in names or width or conversion:
            raise _invalid(template, names, f"{{{name}}} is unknown")


def fill_template(template: str, values: Mapping[str, object]) -> str:
    """Replace the placeholders of a template that `check_template` accepts."""
    return template.format_map(values)


def _invalid(template: str, names: Collection[str], problem: str) -> ValueError:
    known = ", ".join(f"{{{name}}}" for name in names)
    return ValueError(f'"{template}" is not a valid template ({problem}), expected no placeholders other than {known}')
