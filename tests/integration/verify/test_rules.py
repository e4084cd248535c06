"""Each rule catches a plugin that breaks it, and accepts one that follows it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance import RULES, Limits, Outcome, Result, Subject, behind, check, found_in, started_by
from hub.testing.scripted import device
from tests.integration.verify.model import CHANGE, ModelPlugin
from tests.integration.verify.process import BROKEN

pytestmark = pytest.mark.fake_kubelet("the fake kubelet is part of what is tested")

QUICK = Limits(start=60, dial=0.3, quick=0.3, back=2, stop=2, watch=0.3, settle=0.3)
"""Limits for plugins that break a rule, which a slow machine does not make them follow."""

PATIENT = Limits(watch=0.5, settle=0.3).scaled(20)
"""Limits for plugins that follow the rules, even on a slow machine."""

NEED_A_PROCESS = ("stops-on-sigterm", "removes-socket")

BROKEN_IN_A_PROCESS = (*NEED_A_PROCESS, "directory-replaced")
"""Rules that a process breaks: of a task, it is unknown whether it exited."""

PROCESS = [sys.executable, "-m", "tests.integration.verify.process"]

LIMITS = {
    "registers": replace(QUICK, start=0.5),
    "first-list": replace(QUICK, answer=0.5),
    "sent-on-change": replace(QUICK, watch=3),
    "stream-stays-open": replace(QUICK, watch=60),
    "quick-return": replace(QUICK, back=60),
    "list-size": PATIENT,
    "streams-independent": PATIENT,
}
"""Limits by rule, for broken plugins that have to do something else in time before they break the rule."""

IN_TASK = [name for name in RULES if name not in BROKEN_IN_A_PROCESS]


@pytest.fixture
def plugin_dir(directory: Path) -> Path:
    """Make the kubelet's plugin directory."""
    path = directory / "dp"
    path.mkdir()
    return path


@asynccontextmanager
async def subject(directory: Path, plugin: type[ModelPlugin], limits: Limits) -> AsyncIterator[Subject]:
    """Run a plugin as a task of the test, and yield it as the check finds it in its directory."""
    change = ["touch", str(directory / CHANGE)]
    running = asyncio.create_task(plugin(directory).run())
    try:
        with found_in(directory, plugin.resource, limits=limits, change=change) as found:
            async with found:
                yield found
    finally:
        running.cancel()
        await asyncio.wait([running])


async def _results(found: Subject, *names: str) -> dict[str, Result]:
    return {result.rule: result async for result in check(found, [RULES[name] for name in names])}


def test_each_rule_has_a_broken_plugin() -> None:
    """Each broken plugin has a rule, too."""
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize("name", IN_TASK)
async def test_a_broken_plugin_is_caught(plugin_dir: Path, name: str) -> None:
    """The rule that it breaks fails, and the findings say what is wrong."""
    async with subject(plugin_dir, BROKEN[name], LIMITS.get(name, QUICK)) as found:
        result = (await _results(found, name))[name]
    assert result.outcome is Outcome.FAILED, result
    assert all(result.findings)


@pytest.mark.parametrize("name", BROKEN_IN_A_PROCESS)
async def test_a_process_that_does_not_end_well_is_caught(name: str) -> None:
    """The checks catch a process that does not exit when it should, and one that leaves its socket."""
    with started_by([*PROCESS, "{plugin_dir}", name], limits=Limits(start=60, stop=1, back=2)) as found:
        async with found:
            result = (await _results(found, name))[name]
    assert result.outcome is Outcome.FAILED, result


async def test_a_plugin_that_follows_all_rules(plugin_dir: Path) -> None:
    """The plugin passes all rules that do not need its process."""
    async with subject(plugin_dir, ModelPlugin, PATIENT) as found:
        results = await _results(found, *RULES)
    assert {name: result for name, result in results.items() if result.outcome is Outcome.FAILED} == {}
    assert [name for name, result in results.items() if result.outcome is Outcome.SKIPPED] == list(NEED_A_PROCESS)


async def test_a_plugin_behind_a_socket(plugin_dir: Path) -> None:
    """The plugin's responses are checked; rules about its life cycle are skipped, with the reason."""
    plugin = ModelPlugin(plugin_dir)
    await plugin.serve()
    try:
        with behind(plugin_dir / plugin.socket, limits=PATIENT) as found:
            async with found:
                results = await _results(found, *RULES)
    finally:
        await plugin.close()
    assert results["allocate-same"].outcome is results["streams-independent"].outcome is Outcome.PASSED
    assert results["kubelet-restart"].skipped == "only the plugin's socket is known"
    assert {each.outcome for each in results.values()} == {Outcome.PASSED, Outcome.SKIPPED}


async def test_a_plugin_that_loses_its_registration_is_started_again() -> None:
    """A rule that leaves the plugin unusable does not affect the rules after it."""
    names = ["kubelet-restart", "socket-deleted", "allocate-answers"]
    limits = Limits(start=200, back=1, watch=0.3)
    with started_by([*PROCESS, "{plugin_dir}", names[0]], limits=limits) as found:
        async with found:
            results = await _results(found, *names)
    outcomes = [results[name].outcome for name in names]
    assert outcomes == [Outcome.FAILED, Outcome.FAILED, Outcome.PASSED], results


async def test_a_plugin_that_never_registers_fails_one_rule(plugin_dir: Path) -> None:
    """The other rules refer to that one, and none of them waits again."""
    async with subject(plugin_dir, BROKEN["registers"], LIMITS["registers"]) as found:
        results = await _results(found, *RULES)
    failed = [name for name, result in results.items() if result.outcome is Outcome.FAILED]
    assert failed == ["registers"]
    assert results["allocate-answers"].skipped == "the plugin is not registered: see the rule registers"


async def test_many_findings_are_counted(plugin_dir: Path) -> None:
    """Only the first few are listed; the output gives the number of the others."""

    class Odd(ModelPlugin):
        def __init__(self, directory: Path) -> None:
            super().__init__(directory)
            self.listed = [wire.Device(ID=f"d{number}", health="ok") for number in range(20)]

    async with subject(plugin_dir, Odd, PATIENT) as found:
        result = (await _results(found, "health-words"))["health-words"]
    assert result.findings[0] == "device 'd0' has health 'ok'"
    assert result.findings[-1] == "and 15 more"


async def test_a_plugin_with_a_single_device(plugin_dir: Path) -> None:
    """It refuses duplicates and passes: no rule requests its device for two containers at once."""

    class Single(ModelPlugin):
        def __init__(self, directory: Path) -> None:
            super().__init__(directory)
            self.listed = self.listed[:1]

        async def allocate(self, request: wire.AllocateRequest, context: Any) -> wire.AllocateResponse:  # noqa: ANN401 - gRPC's
            await self.check([name for entry in request.container_requests for name in entry.devices_ids], context)
            return await super().allocate(request, context)

    async with subject(plugin_dir, Single, PATIENT) as found:
        results = await _results(found, "allocate-each-container", "refuses-duplicates")
    assert results["allocate-each-container"].skipped == "it lists only one healthy device"
    assert results["refuses-duplicates"].outcome is Outcome.PASSED


async def test_a_list_that_even_the_check_does_not_receive(plugin_dir: Path) -> None:
    """The rule about its size fails, instead of being skipped because there is no list."""

    class Huge(ModelPlugin):
        def __init__(self, directory: Path) -> None:
            super().__init__(directory)
            self.listed = [device("d" * 9_000_000)]

    async with subject(plugin_dir, Huge, replace(PATIENT, answer=2)) as found:
        results = await _results(found, "first-list", "list-size")
    assert (
        results["list-size"].findings[0].startswith("a list is too long even for this check, expected at most 4194304")
    )
    assert results["first-list"].outcome is Outcome.FAILED


async def test_a_list_that_only_the_kubelet_does_not_receive(plugin_dir: Path) -> None:
    """The rule about the first list refers to the cause."""
    async with subject(plugin_dir, BROKEN["list-size"], replace(PATIENT, answer=2)) as found:
        (finding,) = (await _results(found, "first-list"))["first-list"].findings
    assert (
        finding == "the kubelet received no list, although this check did: see the rules list-size and several-streams"
    )


async def test_answers_that_differ_are_shown(plugin_dir: Path) -> None:
    """The finding has both values, so that an order that changes is recognized."""
    async with subject(plugin_dir, BROKEN["allocate-same"], PATIENT) as found:
        (finding,) = (await _results(found, "allocate-same"))["allocate-same"].findings
    assert re.fullmatch(r"two responses for 'd0' differ in envs: \{.+\}, then \{.+\}", finding)


async def test_a_plugin_that_does_not_come_back(plugin_dir: Path) -> None:
    """Later rules say that it was registered, and refer to the rule that it broke."""
    limits = replace(QUICK, start=1)
    async with subject(plugin_dir, BROKEN["kubelet-restart"], limits) as found:
        results = await _results(found, "registers", "kubelet-restart", "allocate-answers")
    assert [results[name].outcome for name in ("registers", "kubelet-restart")] == [Outcome.PASSED, Outcome.FAILED]
    assert results["allocate-answers"].skipped.startswith("the plugin did not register again after an earlier rule")


async def test_whether_a_plugin_in_a_container_exits_is_unknown(plugin_dir: Path) -> None:
    """If it does not come back in a new directory, it may have exited, as it should: the rule is skipped."""
    async with subject(plugin_dir, BROKEN["directory-replaced"], QUICK) as found:
        result = (await _results(found, "directory-replaced"))["directory-replaced"]
    assert result.skipped == "it did not register again, and the check cannot see whether it exited"
