"""CDI files, whatever was in their place before."""

import json
import os
from pathlib import Path

import pytest

from hub import CdiSpecFiles, cdi_spec

SPEC = cdi_spec("example.com", "serial", {"a": {"env": ["A=1"]}})


@pytest.mark.parametrize("found", ["bytes", "pipe", "link", "other text"])
def test_what_is_in_the_place_of_a_file_is_replaced(tmp_path: Path, found: str) -> None:
    """Nothing waits for it, and no other file is written through a link."""
    path = tmp_path / "example.com-serial.json"
    victim = tmp_path / "victim"
    victim.write_text("as before")
    if found == "pipe":
        os.mkfifo(path)
    elif found == "link":
        path.symlink_to(victim)
    else:
        path.write_bytes(b"\xff" if found == "bytes" else b"{}")
    CdiSpecFiles(tmp_path, "example.com").keep({"serial": SPEC})
    assert json.loads(path.read_text()) == SPEC
    assert (path.is_symlink(), path.stat().st_mode & 0o777) == (False, 0o644)
    assert victim.read_text() == "as before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["example.com-serial.json", "victim"]
