"""The pod that `helm test` creates."""

from hub.base.paths import RUN_DIR
from tests.deploy.manifest_tools import (
    NAME,
    OPENSHIFT,
    charted,
    container,
    helm_test,
    only,
    pod,
)
from tests.deploy.manifest_validity import mistakes


def test_helm_test_asks_the_hub_of_a_node() -> None:
    """The test pod runs `dphub status` from the same image on a node with a hub, and sees that node's run directory."""
    options = {
        "image": {"repository": "registry.example/hub", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "pull"}],
        "runDir": "/var/lib/dphub",
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    objects, test = charted(options), helm_test(options)
    assert mistakes([test]) == mistakes([helm_test()]) == []
    spec, hub = test["spec"], pod(objects)
    (asks,) = spec["containers"]
    assert (asks["image"], asks["args"]) == (container(objects)["image"], ["status"])
    assert (spec["imagePullSecrets"], spec["tolerations"]) == (hub["imagePullSecrets"], hub["tolerations"])
    assert [volume["hostPath"]["path"] for volume in spec["volumes"]] == ["/var/lib/dphub"]
    assert [mount["mountPath"] for mount in asks["volumeMounts"]] == [str(RUN_DIR)]
    (near,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    selector = only(objects, "DaemonSet")["spec"]["selector"]
    assert near == {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}


def test_the_pod_of_helm_test_comes_and_goes_alone() -> None:
    """Only `helm test` creates the pod; a success deletes it, and no DaemonSet, Prometheus or policy selects it."""
    test = helm_test()
    assert test["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    assert test["spec"]["restartPolicy"] == "Never"
    selector = only(charted(), "DaemonSet")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= test["metadata"]["labels"].items()
    assert {helm_test(release=name)["metadata"]["name"] for name in (NAME, "7")} == {f"{NAME}-test", "7-test"}


def test_the_pod_of_helm_test_can_only_read() -> None:
    """The pod runs as root without any capability and with one read-only directory on the node, as OpenShift allows."""
    spec = helm_test(OPENSHIFT)["spec"]
    (asks,) = spec["containers"]
    assert asks["securityContext"] == {
        "runAsUser": 0,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seLinuxOptions": {"type": "spc_t"},
    }
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["automountServiceAccountToken"] is False
    assert [mount["readOnly"] for mount in asks["volumeMounts"]] == [True]
    assert not [name for name in spec if name.startswith("host")]
    assert spec["serviceAccountName"] == pod(charted(OPENSHIFT))["serviceAccountName"]
