"""Pods that the kubelet only has to admit, created one after another while a test changes something."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tests.cluster.cluster import Cluster, Object
from tests.cluster.hub import RESOURCE
from tests.cluster.pods import create, small_pod
from tests.cluster.settings import NODE
from tests.cluster.waiting import wait_until

_PERIOD_SECONDS = 0.2
_MAX_WAITING = 16
"""The maximum number of waiting pods, far below that of devices: devices are free only some time after a pod's end."""
_PODS = "/api/v1/namespaces/default/pods"
_SELECTED = f"{_PODS}?labelSelector=scenario=admissions"
_AT_ONCE = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}


class Admissions:
    """A loop that creates pods with one device each, which are already assigned to the node.

    No pod ever starts, because its volume does not exist. So the pods cause the node no work, and each is deleted once
    it is admitted.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._executor = ThreadPoolExecutor()
        self.admitted: set[str] = set()
        self.failed: dict[str, str] = {}
        """Why each pod failed, by name."""

    def __enter__(self) -> Self:
        self._loop = self._executor.submit(self._run)
        # The first pod must be admitted before the test changes anything.
        wait_until(lambda: self.admitted or self.failed, "the first admission")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._loop.result()
        wait_until(lambda: not self._decide(), "the last admission", _PERIOD_SECONDS)

    def __str__(self) -> str:
        return f"{len(self.admitted) + len(self.failed)} admissions, {len(self.failed)} failed"

    def _run(self) -> None:
        for _ in itertools.takewhile(lambda _: not self._over.is_set(), itertools.count()):
            if self._decide() < _MAX_WAITING:
                create(self._cluster, _waiting_pod())
            time.sleep(_PERIOD_SECONDS)

    def _decide(self) -> int:
        """Record and delete the pods that the kubelet has decided on, and return how many are left."""
        pods = self._cluster.request("GET", _SELECTED)["items"]
        decided = [pod for pod in pods if pod["status"].get("startTime") or pod["status"]["phase"] == "Failed"]
        for pod in decided:
            name = pod["metadata"]["name"]
            if pod["status"]["phase"] == "Failed":
                self.failed[name] = f"{pod['status'].get('reason')}: {pod['status'].get('message')}"
            else:
                self.admitted.add(name)
            self._cluster.request("DELETE", f"{_PODS}/{name}", _AT_ONCE)
        return len(pods) - len(decided)


def _waiting_pod() -> Object:
    volume = {"name": "never", "configMap": {"name": "does-not-exist"}}
    pod = small_pod("true", {RESOURCE: "1"}, nodeName=NODE, volumes=[volume], automountServiceAccountToken=False)
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "never", "mountPath": "/never"}]
    pod["metadata"]["labels"] = {"scenario": "admissions"}
    return pod
