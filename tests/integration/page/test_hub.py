"""The page of a real hub, with what its plugins find."""

import pytest
from playwright.async_api import Browser, expect

from hub.base.jsonfile import read_file
from hub.model.hub import InstanceReport
from tests.harness.operated import GPU, operated
from tests.integration.page.browser import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_topology_of_a_node(browser: Browser) -> None:
    """NUMA nodes contain PCIe switches, which contain the GPUs and HCAs below them; the page follows changes."""
    async with operated() as node:
        pod = await node.kubelet.admit("trainer", {GPU: 1})
        (held,) = pod.containers["main"].devices[GPU]
        node.hcas.set_port("mlx5_7", "DOWN")
        await node.status_until(lambda status: not status.ok, "a port that is down")
        instance = read_file(node.run_dir.hub_report, InstanceReport)
        assert instance
        async with opened(browser, f"http://{instance.hub.http}/#view=topology") as page:
            await expect(page).to_have_title("1 problem - node-a - Device Plugin Hub")
            await expect(page.locator(".numa > h3")).to_have_text(["NUMA node 0", "NUMA node 1"])
            switches = page.locator(".switch")
            await expect(switches).to_have_count(4)
            for number in range(4):
                await expect(switches.nth(number).locator(".device")).to_have_count(4)
            card = page.locator(".device", has_text=held)
            await expect(card.locator(".holder")).to_have_text("default/trainer/main")
            unhealthy = page.locator(".device.unhealthy")
            await expect(unhealthy).to_have_count(1)
            await expect(unhealthy).to_contain_text("port 1 of mlx5_7 is DOWN (Polling)")
            node.hcas.set_port("mlx5_7", "ACTIVE")
            await expect(page.locator("#verdict")).to_have_text("No problems")
            await expect(unhealthy).to_have_count(0)
            node.gpus.xid(0, 79)
            await expect(unhealthy).to_contain_text("XID 79")
            await node.stop_hub()
            await expect(page.locator("#gone")).to_contain_text("The hub has not answered since")
            await expect(page.locator(".device")).to_have_count(20)
