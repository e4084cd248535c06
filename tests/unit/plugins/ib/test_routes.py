"""The interfaces of the default routes."""

from pathlib import Path

import pytest

from hub import Host
from plugins.ib.discovery.routes import default_route_interfaces


def test_the_routes_are_the_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod has its own network, so a setting names the file with the node's routes."""
    for name, interface in (("pod", "eth0"), ("node", "ib0")):
        (tmp_path / name / "proc/net").mkdir(parents=True)
        row = f"{interface} 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0"
        (tmp_path / name / "proc/net/route").write_text(f"Iface\n{row}\n")
    monkeypatch.setenv("DPHUB_NODE_NET", str(tmp_path / "node/proc/net"))
    assert default_route_interfaces(Host(tmp_path / "pod")) == ["ib0"]
