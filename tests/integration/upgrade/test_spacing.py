"""Upgrades in quick succession: up to three hubs share a node, any of them ends, and no admission fails."""

import signal
import time

import psutil
import pytest

from hub.base.instances import now, running_hubs
from hub.base.paths import RunDir
from hub.model.plugin import RegistrationStatus
from hub.status.reader import read_report
from hub.testing.kubelet import Registered
from hub.testing.waiting import wait_until
from tests.harness.kubelet import BEFORE_AND_SINCE_1_37
from tests.harness.node import random_source
from tests.harness.upgrade_node import DEVICES, RESOURCE, Admissions, Way, upgrade_node
from tests.harness.upgrades import Run, summary

KUBELETS = pytest.mark.parametrize("distinguishes_sockets", BEFORE_AND_SINCE_1_37)


@KUBELETS
async def test_hubs_come_and_go_at_random(distinguishes_sockets: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Hubs may exit in any order, even the middle one or the newest first; `tests.harness.upgrades` does long runs."""
    run = Run(f"{random_source().getrandbits(32)}", interval=3)
    await run.run(4, distinguishes_sockets=distinguishes_sockets)
    assert run.report() == [], summary([run], [])


@KUBELETS
async def test_the_middle_hub_leaves_the_resource_to_a_newer_one(distinguishes_sockets: bool) -> None:  # noqa: FBT001 - see above
    """It does so even if the older hub exits while the newer one is taking over; its own exit then changes nothing."""
    async with upgrade_node(distinguishes_sockets=distinguishes_sockets) as node:
        first, admissions = node.hubs[0], Admissions(node.kubelet)
        with admissions.running():
            middle = await node.start()
            await node.owned_by(middle)
            node.end(first, Way.TERM)
            newest = await node.start()
            await node.owned_by(newest)
            await node.ended()
            before = len(node.kubelet.registrations)
            node.end(middle, Way.TERM)
            await node.ended()
        assert admissions.failures == []
        later = {
            call.endpoint.partition("-example")[0] for call in node.kubelet.registrations[before:] if not call.error
        }
        assert later <= {newest.name}


@KUBELETS
async def test_the_owner_hands_over_before_it_ends(distinguishes_sockets: bool) -> None:  # noqa: FBT001 - see above
    """The older hub gets the resource, although the kubelet does not know whether that hub still serves."""
    async with upgrade_node(distinguishes_sockets=distinguishes_sockets) as node:
        first, admissions = node.hubs[0], Admissions(node.kubelet)
        with admissions.running():
            newer = await node.start()
            await node.owned_by(newer)
            node.end(newer, Way.TERM)
            await node.ended()
            assert newer.process.returncode == 0
            await node.owned_by(first)
        assert admissions.failures == []
        node.end(first, Way.TERM)
        await node.allocatable(0)


async def test_the_owner_waits_for_a_newer_hub_that_starts() -> None:
    """Until then, the owner is the only hub that serves; it exits when the newer one serves."""
    async with upgrade_node() as node:
        first, admissions = node.hubs[0], Admissions(node.kubelet)
        with admissions.running():
            newer = await node.start()
            await wait_until(lambda: len(running_hubs(node.run_dir)) > 1, "the newer hub")
            node.end(first, Way.TERM)
            await node.ended()
            await node.owned_by(newer)
        assert admissions.failures == []


@pytest.mark.parametrize("config", ["stopped", "hanging"])
async def test_an_older_hub_takes_over_if_the_newest_never_serves(config: str) -> None:
    """When the middle hub, the owner of the resource, ends, the oldest one gets it at once."""
    async with upgrade_node() as node:
        first, admissions = node.hubs[0], Admissions(node.kubelet)
        with admissions.running():
            middle = await node.start()
            await node.owned_by(middle)
            newest = await node.start(config)
            await wait_until(lambda: len(running_hubs(node.run_dir)) > 2, "the newest hub")
            node.end(middle, Way.TERM)
            await node.ended()
            await node.owned_by(first)
            node.end(newest, Way.KILL)
            await node.ended()
        assert admissions.failures == []


async def test_a_hub_whose_plugin_hangs_does_not_delay_its_end() -> None:
    """A plugin that does not report its handover is killed after the graceful timeout, and other hubs serve."""
    async with upgrade_node() as node:
        first = node.hubs[0]
        newer = await node.start()
        await node.owned_by(newer)
        # The plugin writes its report a moment after it has become the owner.
        report = await wait_until(lambda: read_report(node.run_dir.report("red")), "the report")
        psutil.Process(report.pid).suspend()
        begin = time.monotonic()
        node.end(newer, Way.TERM)
        await node.ended()
        assert "plugin stop timed out" in node.log.read_text()
        assert time.monotonic() - begin < 20
        await node.owned_by(first)
        await node.allocatable(DEVICES)


async def test_a_killed_owner_is_replaced_at_once() -> None:
    """The older hub notices that the process has exited, and does not wait for its next check."""
    async with upgrade_node() as node:
        first = node.hubs[0]
        newer = await node.start()
        await node.owned_by(newer)
        before = len(node.kubelet.registrations)
        node.end(newer, Way.KILL)
        await node.owned_by(first)

        def accepted() -> list[Registered]:
            # A registration that the kubelet rejects only takes the resource away from its owner.
            return [each for each in node.kubelet.registrations[before:] if not each.error]

        # The kubelet may report the registration only after it has answered the plugin.
        assert (await wait_until(accepted, "an accepted registration"))[0].endpoint.startswith(first.name)
        await node.ended()
        # From the end of the process until it reads the older hub's list, the kubelet treats all devices as unhealthy.
        await node.allocatable(DEVICES)
        await node.kubelet.remove(await node.kubelet.admit("pod", {RESOURCE: 1}))


async def test_a_hub_ends_its_streams_one_after_another() -> None:
    """When a stream ends, kubelet 1.37 and later may call another one, so the newer hub registers in between."""
    async with upgrade_node(distinguishes_sockets=True) as node:
        first = node.hubs[0]
        second = await node.start()
        await node.owned_by(second)
        begin = now()
        node.end(first, Way.TERM)
        await node.owned_by(second, since=begin)
        third = await node.start()
        await node.owned_by(third)
        begin = now()
        node.end(second, Way.TERM)
        await node.owned_by(third, since=begin)
        assert second.process.returncode is None
        await node.ended()
        assert second.process.returncode == 0


async def test_any_number_of_registrations_fails_no_admission() -> None:
    """The kubelet opens one more stream each time, and the plugin never closes its socket to end old ones."""
    async with upgrade_node() as node:
        hub, admissions = node.hubs[0], Admissions(node.kubelet)
        owner = node.run_dir.owner(RESOURCE)
        with admissions.running():
            for _ in range(20):
                begin = now()
                owner.write_text(f"another {begin}\n")
                await node.owned_by(hub, since=begin)
        assert admissions.failures == []
        node.end(hub, Way.TERM)
        await node.allocatable(0)


def _running_plugin(run_dir: RunDir) -> int:
    report = read_report(run_dir.report("red"))
    return report.pid if report and psutil.pid_exists(report.pid) else 0


async def test_many_upgrades_leave_few_streams() -> None:
    """A newer plugin that crashes again and again uses up neither the kubelet nor the older hub."""
    async with upgrade_node() as node:
        first, first_dir = node.hubs[0], node.run_dir
        newer = await node.start()
        begin = 0
        for _ in range(3):
            # In between, the older hub had the resource for the tenth of a second that the plugin's restart took.
            await node.owned_by(newer, since=begin)
            # The report may still be from the previous process.
            pid = await wait_until(lambda: _running_plugin(node.run_dir), "a report of a running process")
            begin = now()
            psutil.Process(pid).send_signal(signal.SIGKILL)
        await node.owned_by(newer, since=begin)
        node.end(newer, Way.TERM)
        await node.ended()
        await node.owned_by(first)
        before, registrations = len(node.kubelet.lists(RESOURCE)), len(node.kubelet.registrations)
        (node.directory / "faults.json").write_text('{"unhealthy": {"red-0": "pulled out"}}')
        await node.allocatable(DEVICES - 1)
        # On a busy machine, the last registration after the newer hub's exit may come as late as this.
        late = len(node.kubelet.registrations) - registrations
        assert before < len(node.kubelet.lists(RESOURCE)) <= before + 1 + late
        report = read_report(first_dir.report("red"))
        assert report
        assert report.resources[0].registration is RegistrationStatus.REGISTERED


@KUBELETS
async def test_hubs_that_leave_together_end_one_after_another(distinguishes_sockets: bool) -> None:  # noqa: FBT001 - see above
    """When one has stopped, kubelet 1.37 and later may call the other, which waits until the newest registers again."""
    async with upgrade_node(distinguishes_sockets=distinguishes_sockets) as node:
        first, admissions = node.hubs[0], Admissions(node.kubelet)
        with admissions.running():
            second = await node.start()
            await node.owned_by(second)
            newest = await node.start()
            await node.owned_by(newest)
            node.end(first, Way.TERM)
            node.end(second, Way.TERM)
            await node.ended()
        assert admissions.failures == []
        assert (first.process.returncode, second.process.returncode) == (0, 0)
        await node.allocatable(DEVICES)
