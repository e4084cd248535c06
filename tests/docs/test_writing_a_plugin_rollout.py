"""The last steps of the tutorial: what a cluster gets from the reader's directory."""

import re

import pytest
import yaml

from hub._version import __version__
from hub.supervisor.config.watchers import read_config
from hub.testing.kubelet import FakeKubelet
from hub.testing.waiting import WAIT_SECONDS
from tests.deploy.manifest_tools import CONTAINER, Object, container, kustomized, mounts, only, pod
from tests.deploy.manifest_validity import mistakes
from tests.docs.pages import TUTORIAL
from tests.docs.terminal import terminal, typed
from tests.docs.tutorial import ADD_SECTIONS, CHECK_HUB, GROWN, KUSTOMIZE, SERIAL, Tutorial, complete_plugin


@pytest.fixture
def made(tutorial: Tutorial) -> list[Object]:
    """Return what a cluster gets from the reader's directory."""
    tutorial.write(complete_plugin())
    assert KUSTOMIZE == "kubectl kustomize ."
    return kustomized(tutorial.directory)


def test_the_overlay_is_valid(tutorial: Tutorial, made: list[Object]) -> None:
    """The overlay is valid for Kubernetes and OpenShift, mounts the node's directory, and pulls the reader's image."""
    file = tutorial.directory / "kustomization.yaml"
    file.write_text(file.read_text().replace("overlays/kubernetes", "overlays/openshift"))
    for objects in (made, kustomized(tutorial.directory)):
        assert mistakes(objects) == []
        assert container(objects)["image"] == f"REGISTRY/device-plugin-hub:{__version__}"
        locks = mounts(objects)["/run/lock"]
        assert (locks["hostPath"]["path"], locks["readOnly"]) == ("/run/lock", True)


@pytest.mark.parametrize("name", ["unprivileged", "resets"])
def test_the_components_that_it_names_fit(tutorial: Tutorial, made: list[Object], name: str) -> None:
    """Each of them can be added to the overlay."""
    assert made
    component = f"../device-plugin-hub/container/components/{name}"
    assert f"`{component}`" in TUTORIAL.text
    with (tutorial.directory / "kustomization.yaml").open("a") as file:
        file.write(f"components:\n  - {component}\n")
    assert mistakes(kustomized(tutorial.directory)) == []


async def test_a_plugin_needs_no_image(tutorial: Tutorial, made: list[Object]) -> None:
    """The hub serves the plugin from the files of the ConfigMap alone, in the directory where a pod has them."""
    etc = tutorial.directory / "etc"
    etc.mkdir()
    for name, text in only(made, "ConfigMap")["data"].items():
        (etc / name).write_text(text)
    (hub_container,) = pod(made)["containers"]
    assert hub_container["workingDir"] == "/etc/dphub"
    command = " ".join(["dphub", *hub_container["args"]]).replace("/etc/dphub", str(etc))
    variables = {
        "DPHUB_HOST_ROOT": str(tutorial.directory / "host"),
        "DPHUB_PLUGIN_DIR": str(tutorial.directory / "plugins"),
        "DPHUB_RUN_DIR": str(tutorial.directory / "run"),
    }
    async with FakeKubelet(tutorial.directory / "plugins") as kubelet, terminal(command, etc, **variables):
        await kubelet.wait_for(SERIAL, allocatable=2, timeout=WAIT_SECONDS)
        pod_with_reset = await kubelet.admit("reader", {SERIAL: 1})
        assert pod_with_reset.containers["main"].started


def test_the_hubs_own_plugins_can_be_added(tutorial: Tutorial) -> None:
    """The nodes' circus.ini then has all sections once, and their files; the reader's own section still works."""
    tutorial.write(GROWN)
    typed(ADD_SECTIONS, tutorial.directory)
    file = tutorial.directory / "kustomization.yaml"
    (after, before) = re.findall(r"write `(- circus\.ini=\S+)` instead of `(- circus\.ini)`", TUTORIAL.text)[0]
    file.write_text(file.read_text().replace(f"{before}\n", f"{after}\n"))
    etc = tutorial.directory / "etc"
    etc.mkdir()
    for name, text in only(kustomized(tutorial.directory), "ConfigMap")["data"].items():
        (etc / name).write_text(text)
    names = {plugin.name for plugin in read_config(etc / "circus.ini")}
    assert names == {"serial", *(plugin.name for plugin in read_config(CONTAINER / "base/circus.ini"))}
    assert f"{len(names)} plugins" in typed(CHECK_HUB, etc)
    typed(CHECK_HUB, tutorial.directory)


def test_an_image_of_your_own(tutorial: Tutorial, made: list[Object]) -> None:
    """The image extends the hub's, and Python finds the plugin at the path of its copy, from any working directory."""
    (lines,) = [text.splitlines() for text in TUTORIAL.of("dockerfile")]
    instructions = [line.split() for line in lines]
    assert [words[0] for words in instructions] == ["FROM", "COPY", "ENV"]
    assert instructions[0][1] == container(made)["image"]
    *sources, target = instructions[1][1:]
    assert instructions[2][1] == f"PYTHONPATH={target.rstrip('/')}"
    image = tutorial.directory / "image"
    image.mkdir()
    for name in sources:
        (image / name).write_bytes((tutorial.directory / name).read_bytes())
    check = TUTORIAL.command("docker run").partition("device-plugin-hub-serial:1 ")[2]
    elsewhere = tutorial.directory / "elsewhere"
    elsewhere.mkdir()
    assert "ok" in typed(f"dphub {check}", elsewhere, PYTHONPATH=str(image))
    # The overlay uses this image in place of the hub's.
    (images,) = [yaml.safe_load(text)["images"] for text in TUTORIAL.of("yaml") if text.startswith("images:")]
    file = tutorial.directory / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text()) | {"images": images}
    file.write_text(yaml.safe_dump(kustomization))
    tag = TUTORIAL.command("docker push").split()[-1]
    assert container(kustomized(tutorial.directory))["image"] == tag
    assert TUTORIAL.command("docker build").split()[-2] == tag


def test_the_pod_asks_for_the_device() -> None:
    """The pod is valid, requests what the plugin serves, and reads the file that `allocate` gives it."""
    (text,) = TUTORIAL.versions("reader.yaml")
    reader = yaml.safe_load(text)
    assert mistakes([reader]) == []
    (main,) = reader["spec"]["containers"]
    assert main["resources"]["limits"] == {SERIAL: 1}
    assert "/dev/modem0" in main["command"][-1]
