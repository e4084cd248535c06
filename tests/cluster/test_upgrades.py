"""Upgrades of the hub, while pods that request a device are being admitted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub._version import __version__
from tests.cluster.admissions import Admissions
from tests.cluster.cluster import Cluster
from tests.cluster.figures import Figures
from tests.cluster.hub import DEVICES, NAMESPACE, Overlay, allocatable, hub_pods, wait_for_rollout
from tests.cluster.kubeletview import Gap
from tests.cluster.settings import HUB_IMAGE
from tests.cluster.waiting import wait_until

NEXT = "0.1.1"


@pytest.fixture(autouse=True)
def versions(cluster: Cluster, overlay: Overlay) -> Iterator[None]:
    """Provide an image of a newer version on the node, and afterwards return to this version."""
    cluster.node.tag_image(HUB_IMAGE, f"device-plugin-hub:{NEXT}")
    yield
    overlay.use_image(__version__)
    overlay.configure(DEVICES)
    overlay.apply()
    wait_for_rollout(cluster)


def test_a_changed_image(cluster: Cluster, overlay: Overlay, figures: Figures) -> None:
    """Every pod is admitted during an upgrade and a rollback."""
    with _observed(cluster, figures, "image changed"):
        overlay.use_image(NEXT)
        overlay.apply()
        wait_for_rollout(cluster)
        assert _image(cluster).endswith(NEXT)
    with _observed(cluster, figures, "rolled back"):
        cluster.run(f"kubectl --namespace {NAMESPACE} rollout undo daemonset/device-plugin-hub", Path("/"))
        wait_for_rollout(cluster)
        assert _image(cluster).endswith(__version__)


def test_a_changed_configuration(cluster: Cluster, overlay: Overlay, figures: Figures) -> None:
    """A changed file is rolled out like a new version, and the node's status then lists the new devices."""
    with _observed(cluster, figures, "ConfigMap changed", watched=False):
        overlay.configure(DEVICES + 1)
        overlay.apply()
        wait_for_rollout(cluster)
    began = time.monotonic()
    wait_until(lambda: allocatable(cluster) == DEVICES + 1, "the new device in the node's status")
    figures.add("", f"in the node's status {time.monotonic() - began:.1f} s after the rollout")


@pytest.mark.parametrize("seconds", [1, 3, 6])
def test_two_changes_within_seconds(cluster: Cluster, overlay: Overlay, figures: Figures, seconds: int) -> None:
    """A second change, made before the first is rolled out, neither stops the rollout nor makes a pod fail."""
    with _observed(cluster, figures, f"two changes, {seconds} s apart"):
        overlay.use_image(NEXT)
        overlay.apply()
        time.sleep(seconds)
        overlay.use_image("0.1.2")
        cluster.node.tag_image(HUB_IMAGE, "device-plugin-hub:0.1.2")
        overlay.apply()
        wait_for_rollout(cluster)
        assert _image(cluster).endswith("0.1.2")


@contextmanager
def _observed(cluster: Cluster, figures: Figures, scenario: str, *, watched: bool = True) -> Iterator[None]:
    """Admit pods and watch the devices; no admission may fail."""
    began = time.monotonic()
    with Admissions(cluster) as admissions, Gap() as gap:
        yield
    seconds = time.monotonic() - began
    lacked = f"; the kubelet lacked devices for {gap.seconds:.2f} s" if watched else ""
    figures.add(scenario, f"{seconds:.0f} s: {admissions}{lacked}")
    assert admissions.failed == {}


def _image(cluster: Cluster) -> str:
    (pod,) = hub_pods(cluster)
    image: str = pod["spec"]["containers"][0]["image"]
    return image
