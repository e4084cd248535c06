"""docs/install.md, followed on a real cluster."""

import re
import shutil
import time
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.figures import Figures
from tests.cluster.hub import NAMESPACE, hub_pods, run_in_hub, wait_for_rollout
from tests.cluster.waiting import wait_until
from tests.docs.pages import Page
from tests.harness.project import PROJECT

INSTALL = Page("docs/install.md")
_REGISTRY = "images:\n  - name: device-plugin-hub\n    newName: REGISTRY/device-plugin-hub\n"


def test_the_page(cluster: Cluster, tmp_path: Path, figures: Figures) -> None:
    """The page's overlay installs the hub, its example pod runs with stub devices, and nothing is left afterwards."""
    shutil.copytree(PROJECT / "container", tmp_path / "container")
    for command in INSTALL.commands:
        if command.startswith("cp "):
            cluster.run(command, tmp_path)
    kustomization = INSTALL.of("yaml")[0]
    assert _REGISTRY in kustomization
    # The page says to omit these lines if there is no registry.
    path = tmp_path / "container/overlays/my-cluster/kustomization.yaml"
    path.write_text(kustomization.replace(_REGISTRY, ""))
    cluster.run(INSTALL.command("kubectl apply -k"), tmp_path)
    try:
        wait_for_rollout(cluster)
        assert re.search("plugins? (is|are) stopped", run_in_hub(cluster, "dphub status"))
        _run_the_stubs_pod(cluster, tmp_path, figures)
    finally:
        cluster.run(INSTALL.command("kubectl delete -k"), tmp_path)
    assert cluster.get(f"/api/v1/namespaces/{NAMESPACE}") is None


def _run_the_stubs_pod(cluster: Cluster, directory: Path, figures: Figures) -> None:
    (file,) = [block for block in INSTALL.blocks if block.file == "stub-test.yaml"]
    (directory / file.file).write_text(file.text.replace("REGISTRY/", ""))
    pod = hub_pods(cluster)[-1]["metadata"]["name"]
    began = time.monotonic()
    cluster.run(
        INSTALL.command(f"kubectl --namespace {NAMESPACE} exec POD -- dphub start").replace("POD", pod), directory
    )
    for beginning in ("kubectl apply --filename", "kubectl wait"):
        cluster.run(_patient(INSTALL.command(beginning)), directory)
    figures.add("stub started", f"a pod has used its devices after {time.monotonic() - began:.1f} s")
    ids, *files = cluster.run(INSTALL.command("kubectl logs"), directory).splitlines()
    numbers = [each.removeprefix("stub-") for each in ids.split(",")]
    assert len(numbers) == 2
    assert [line.split()[-1] for line in files] == [f"/dev/stub{number}" for number in sorted(numbers)]
    cluster.run(INSTALL.command("kubectl delete --filename"), directory)
    cluster.run(
        INSTALL.command(f"kubectl --namespace {NAMESPACE} exec POD -- dphub stop").replace("POD", pod), directory
    )
    wait_until(lambda: "dphub start stub" in run_in_hub(cluster, "dphub status"), "the stopped stub")


def _patient(command: str) -> str:
    """Let a command wait longer than its default of 30 s, since this machine may be busy."""
    return f"{command} --timeout=240s" if " wait " in command else command
