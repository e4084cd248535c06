"""One kubelet with its drivers and claims, which follow a script, and their observable state."""

import json
import re
from pathlib import Path
from typing import Any

import grpc

from hub.kubelet.wire import dra_pb2 as wire
from hub.testing.apiserver import CLAIMS
from hub.testing.dra import ClaimPod, DraError
from hub.testing.dra.claims import STATE_FILE
from hub.testing.dra.scripted import Answer, ScriptedDriver, fails
from hub.testing.scripted import refuse
from hub.testing.waiting import wait_until
from tests.differential.dra.script import DRIVERS
from tests.differential.script import Step
from tests.harness.dra import DraNode

_DEVICES = 40


class Side:
    """A node, and the outcomes of the script's steps."""

    def __init__(self, node: DraNode) -> None:
        self._node = node
        self._drivers: dict[str, ScriptedDriver] = {}
        self._answers: dict[str, str] = dict.fromkeys(DRIVERS, "usual")
        self._pods: dict[str, ClaimPod] = {}
        self._names: dict[str, str] = {}
        self._outcome = ""

    async def begin(self) -> None:
        """Publish devices after the kubelet has deleted all slices."""
        await self._publish_again(0)

    async def perform(self, step: Step) -> None:
        """Perform a step, and wait until its effects are visible."""
        self._outcome = ""
        for driver in self._drivers.values():
            driver.calls.clear()
        try:
            await getattr(self, step.do)(**step.arguments)
        except DraError as error:
            self._outcome = self._readable(str(error))

    # Steps.

    async def start(self, driver: str, instance: str) -> None:
        """Start an instance."""
        made = await self._node.driver(instance, driver)
        self._drivers[instance] = made
        self._set_answer(made)
        await self._registered(made, 0)

    async def stop(self, driver: str, instance: str) -> None:
        """Stop an instance."""
        del driver
        stopped = self._drivers.pop(instance)
        await stopped.stop()
        await self._until(stopped, connected=None)

    async def kill(self, driver: str, instance: str) -> None:
        """Kill an instance; its sockets stay."""
        del driver
        killed = self._drivers.pop(instance)
        await killed.kill()
        await self._until(killed, connected=False)

    async def answer(self, driver: str, how: str) -> None:
        """Choose how the instances of a driver answer from now on."""
        self._answers[driver] = how
        for each in self._drivers.values():
            self._set_answer(each)

    async def restart(self) -> None:
        """Restart the kubelet gracefully."""
        await self._node.kubelet.stop()
        await self._started()

    async def crash(self) -> None:
        """Kill the kubelet, and start it."""
        await self._node.kubelet.crash()
        await self._started()

    async def prepare(self, pod: str, claims: list[str], driver: str) -> None:
        """Prepare claims, which are created if they do not exist, for a new pod."""
        known = {each["metadata"]["name"] for each in self._node.api.store.list(CLAIMS)}
        for claim in claims:
            if claim not in known:
                self._node.claim(claim, pod, driver=driver)
                self._names[self._node.uid(claim)] = claim
        self._pods[pod] = self._node.user(pod, *claims)
        await self.prepare_again(pod)

    async def prepare_again(self, pod: str) -> None:
        """Prepare the claims of a pod, as for a new sandbox, unless the pod has terminated."""
        if pod in self._pods:
            found = await self._node.kubelet.prepare(self._pods[pod])
            self._outcome = f"prepared {sorted(self._readable(name) for name in found['main'])}"

    async def unprepare(self, pod: str) -> None:
        """End a pod, unless it has terminated."""
        if pod in self._pods:
            await self._node.kubelet.unprepare(self._pods[pod])
            del self._pods[pod]
            self._outcome = "unprepared"

    async def forget(self, pod: str) -> None:
        """Delete a pod by force, and wait until the kubelet has noticed."""
        if found := self._pods.pop(pod, None):
            await self._node.kubelet.forget(found)
            await wait_until(lambda: found.uid not in str(self._checkpoint()), "the check for pods that are gone")

    async def remake(self, claim: str) -> None:
        """Delete a claim, and create another one with its name."""
        old = self._node.api.store.delete(CLAIMS, claim, "default")
        self._node.api.store.create(
            CLAIMS, {key: old[key] for key in ("spec", "status")} | {"metadata": {"name": claim}}, "default"
        )
        self._names[self._node.uid(claim)] = f"{claim}-{len(self._names)}"

    # Observable state.

    def observe(self) -> dict[str, Any]:
        """Return everything that must be equal on both sides."""
        return {
            "outcome": self._outcome,
            "calls": {
                name: [(call, sorted(self._names[uid] for uid in uids)) for call, uids in driver.calls]
                for name, driver in self._drivers.items()
            },
            "instances": {
                driver: [(Path(endpoint).name, on) for endpoint, on in self._node.kubelet.instances(driver)]
                for driver in DRIVERS
            },
            "claims": self._checkpoint(),
        }

    def _checkpoint(self) -> Any:  # noqa: ANN401 - JSON
        path = self._node.root / STATE_FILE
        if not path.exists():
            return []
        claims = json.loads(json.loads(path.read_text())["Data"])["ClaimInfoStateList"] or []
        for claim in claims:
            claim["PodUIDs"] = sorted(claim["PodUIDs"])
        return json.loads(self._readable(json.dumps(sorted(claims, key=lambda each: each["ClaimName"]))))

    def _readable(self, text: str) -> str:
        """Return a message with the names of claims instead of their UIDs, and without the words of gRPC libraries."""
        for uid, name in self._names.items():
            text = text.replace(uid, name)
        # Which of several claims failed first is random in a kubelet.
        text = re.sub(r"failed for ResourceClaim \S+:", "failed for a ResourceClaim:", text)
        return re.sub(r"code = Unavailable desc = .*", "connection lost", text)

    def _set_answer(self, driver: ScriptedDriver) -> None:
        answers: dict[str, tuple[Answer, Answer]] = {
            "usual": (driver._prepare, driver._unprepare),
            "error": (fails("not today"), fails("not today")),
            "missing": (_prepared_nothing, _unprepared_nothing),
            "unknown": (_prepared_another, _unprepared_another),
            "refused": (refuse(grpc.StatusCode.INTERNAL, "no"), refuse(grpc.StatusCode.INTERNAL, "no")),
        }
        driver.on_prepare, driver.on_unprepare = answers[self._answers[driver.name]]

    async def _started(self) -> None:
        """Start the kubelet, and let the instances register in the same order as before."""
        kubelet = self._node.kubelet
        before, notified_before = self._deletions(), {name: len(each.notified) for name, each in self._drivers.items()}
        await kubelet.start()
        await self._publish_again(before)
        for name, each in self._drivers.items():
            await self._registered(each, notified_before[name])
        for each in self._drivers.values():
            notified = len(each.notified)
            await each.register()
            await self._registered(each, notified)

    async def _registered(self, driver: ScriptedDriver, notified_before: int) -> None:
        """Wait until an instance has been notified again of its registration, and is connected."""
        await wait_until(lambda: len(driver.notified) > notified_before, f"the registration of {driver.endpoint}")
        await self._until(driver, connected=True)

    async def _publish_again(self, deletions: int) -> None:
        """Publish all devices when the kubelet has deleted the slices, as it does when it starts."""
        await wait_until(lambda: self._deletions() > deletions, "the deletion of slices at the start")
        for driver in DRIVERS:
            self._node.publish(*(f"d{number}" for number in range(_DEVICES)), driver=driver)

    def _deletions(self) -> int:
        return sum(each.method == "DELETE" and each.status == 200 for each in self._node.api.requests)

    async def _until(self, driver: ScriptedDriver, *, connected: bool | None) -> None:
        """Wait until an instance is connected (True), not connected (False) or not registered (None)."""
        known = self._node.kubelet.instances
        await self._node.kubelet.wait_until(
            lambda _: dict(known(driver.name)).get(driver.endpoint) is connected, what=f"{driver.endpoint} {connected}"
        )


async def _prepared_nothing(_: object, __: object) -> wire.NodePrepareResourcesResponse:
    return wire.NodePrepareResourcesResponse()


async def _unprepared_nothing(_: object, __: object) -> wire.NodeUnprepareResourcesResponse:
    return wire.NodeUnprepareResourcesResponse()


async def _prepared_another(_: object, __: object) -> wire.NodePrepareResourcesResponse:
    return wire.NodePrepareResourcesResponse(claims={"another": wire.NodePrepareResourceResponse()})


async def _unprepared_another(_: object, __: object) -> wire.NodeUnprepareResourcesResponse:
    return wire.NodeUnprepareResourcesResponse(claims={"another": wire.NodeUnprepareResourceResponse()})
