"""Fixtures of the tests of the container image.

They need root and an image that has been built, so they run only if the command line names this directory, as that of
`make test-image` does.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hub.testing.kubelet import FakeKubelet
from scripts import image as built
from tests.image.pod import ContainerSpec, Image, Pod, StartPod

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Ignore these tests unless the command line names this directory."""
    asked_for = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if any(path.is_relative_to(HERE) for path in asked_for):
        return None
    return True


@pytest.fixture(scope="session")
def image() -> Image:
    """Return the image that was built last."""
    layers = [layer["size"] for layer in built.manifest()["layers"]]
    return Image(built.ROOT_FILES, built.configuration()["config"], layers)


@pytest.fixture
def node() -> Iterator[Path]:
    """Create a node's directories, below a path short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="im", dir="/tmp"))
    for name in ("device-plugins", "pod-resources", "run", "cdi"):
        (directory / name).mkdir()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def volumes(node: Path) -> dict[str, Path]:
    """Return the node's directories that the hub's pod mounts."""
    return {
        "/var/lib/kubelet/device-plugins": node / "device-plugins",
        "/var/lib/kubelet/pod-resources": node / "pod-resources",
        "/run/dphub": node / "run",
        # The real path of /var/run/cdi.
        "/run/cdi": node / "cdi",
    }


@pytest.fixture
async def kubelet(node: Path) -> AsyncIterator[FakeKubelet]:
    """Run the node's kubelet."""
    async with FakeKubelet(node / "device-plugins") as kubelet:
        yield kubelet


@pytest.fixture
def start_pod(image: Image) -> Iterator[StartPod]:
    """Start pods, and remove everything that remains of them at the end."""
    pods: list[Pod] = []

    def start(wanted: ContainerSpec) -> Pod:
        pods.append(Pod(image, Path(tempfile.mkdtemp(prefix="im", dir="/tmp")), wanted))
        pods[-1].start()
        return pods[-1]

    yield start
    for pod in pods:
        pod.end()
