"""The text of the service's unit file."""

from pathlib import Path

import pytest

from hub.cli.systemd.kubelets import KUBELETS
from hub.cli.systemd.unit import Unit
from tests.harness.systemd import settings, words


def test_odd_paths_are_quoted() -> None:
    """In a command, systemd replaces % and $, and splits it at spaces."""
    odd = Path('/opt/a b%c$d"e')
    unit = Unit(KUBELETS[0], (str(odd),), odd, odd, Path("/run/a"))
    (command,) = settings(unit.text)["ExecStart"]
    assert words(command)[0] == words(command)[4] == str(odd)


@pytest.mark.parametrize("name", ["it's", "a;b", "a\tb", "a\nExecStartPre=/bin/evil"])
def test_no_path_adds_to_the_unit(name: str) -> None:
    """In quotes, it is one word; a line break would end the line."""
    odd = Path("/opt") / name
    plain = Unit(KUBELETS[0], ("/opt/dphub",), Path("/opt/a"), Path("/opt/b"), Path("/opt/c"))
    unit = Unit(KUBELETS[0], (str(odd),), odd, odd, odd)
    assert unit.text.count("\n") == plain.text.count("\n")
    (command,) = settings(unit.text)["ExecStart"]
    assert words(command)[4].replace("\\x0a", "\n").replace("\\x09", "\t") == str(odd)
