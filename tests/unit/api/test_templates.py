"""Placeholders in settings."""

import pytest

from hub import check_template, fill_template

INVALID = {
    "an unknown name": "{nope}",
    "no name": "a{}",
    "a number": "{0}",
    "a width": "{id:1000000000}",
    "a conversion": "{id!r}",
    "an attribute": "{id.__class__}",
    "an item": "{id[0]}",
    "an open brace": "{id",
    "a closing brace": "id}",
}


@pytest.mark.parametrize("template", INVALID.values(), ids=INVALID)
def test_an_invalid_template(template: str) -> None:
    """The error quotes it, and names the placeholders."""
    with pytest.raises(ValueError, match=r"expected no placeholders other than \{id\}, \{n\}") as raised:
        check_template(template, ["id", "n"])
    assert f'"{template}" is not a valid template' in str(raised.value)


@pytest.mark.parametrize(("template", "text"), [("x", "x"), ("{id}-{n}", "a-0"), ("{{{id}}}", "{a}"), ("", "")])
def test_a_valid_template(template: str, text: str) -> None:
    """Doubled braces stay; values are not templates themselves."""
    check_template(template, ["id", "n"])
    assert fill_template(template, {"id": "a", "n": 0}) == text
    assert fill_template("{id}", {"id": "{n}"}) == "{n}"
