"""Errors for administrators."""

from pathlib import Path

import pytest

from hub.api.settings import read_settings
from hub.base.errors import ConfigError
from plugins.stub.settings import StubSettings


def test_an_error_is_one_line(tmp_path: Path) -> None:
    """A key in a file cannot forge a finding about another file, such as "ok"."""
    path = tmp_path / "stub.yaml"
    path.write_text('"x\\ncircus.ini: ok, 3 plugins": 1\n')
    with pytest.raises(ConfigError) as caught:
        read_settings(path, StubSettings)
    assert "circus.ini: ok, 3 plugins" in str(caught.value)
    assert "\n" not in str(caught.value)
