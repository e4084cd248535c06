"""The cluster itself, without a hub."""

import time

from tests.cluster.cluster import Cluster
from tests.cluster.figures import Figures
from tests.cluster.pods import create, small_pod
from tests.cluster.waiting import wait_until


def test_a_pod_runs(cluster: Cluster, figures: Figures) -> None:
    """The scheduler places a pod on the node, and its command runs."""
    began = time.monotonic()
    name = create(cluster, small_pod("true"))
    wait_until(lambda: cluster.get(name)["status"].get("phase") == "Succeeded", f"the end of {name}")
    figures.add("a pod", f"ended {time.monotonic() - began:.1f} s after it was created")
    cluster.request("DELETE", name)
