"""The sentences of docs/security.md outside of its tables: each has a test that proves it, or claims nothing.

The tables of the page name their tests themselves. Each entry is the beginning of a sentence.
"""

_PRIVILEGES = "tests/image/test_least_privilege.py"

SHOWN_BY = {
    "Each row names its tests": "tests/docs/test_security.py::test_every_attacker_has_a_row_and_a_test",
    "There is no row for an attacker": "tests/docs/test_security.py::test_every_attacker_has_a_row_and_a_test",
    "`tests/image/test_least_privilege.py` takes away": f"{_PRIVILEGES}::test_every_mount_is_taken_away_in_a_test",
    "There is no `hostNetwork`": "tests/docs/test_security.py::test_what_the_pod_never_has",
    "The container runtime's default seccomp profile": (
        "tests/deploy/test_manifests_privileges.py::test_the_runtimes_seccomp_profile_applies_to_what_is_not_privileged"
    ),
    "With [DRA](dra.md), the pod may also write": "tests/deploy/test_dra.py::test_what_the_pod_may_write_to",
    "The container's own file system": "tests/deploy/test_manifests_privileges.py::test_what_the_pod_may_write_to",
    "The pod that `helm test` creates": "tests/deploy/test_chart_test_pod.py::test_the_pod_of_helm_test_can_only_read",
    "With `unprivileged`, the pod has no capabilities": f"{_PRIVILEGES}::test_an_unprivileged_pod_serves_adapters",
    "kustomize and Helm refuse": (
        "tests/deploy/test_manifests_privileges.py::test_what_needs_privileges_is_refused_with_unprivileged"
    ),
    "Refer to it by its digest": "tests/deploy/test_chart.py::test_an_image_by_its_digest",
}
"""The test that proves each sentence."""

NO_CLAIMS = (
    # What the kubelet and Kubernetes do, and what follows.
    *("A device plugin is part", "So anyone who can run code", "The same is true of `kubectl exec`"),
    # What is on the page, and what it is about.
    *("This page lists", "A test covers one form", "This applies to the hub"),
    # Advice.
    *("Keep other workloads out", "`make fuzz` feeds", "Security fixes for Debian"),
    # What is not protected.
    *("It could send commands", "That guards against mistakes", "File systems that the node has mounted inside"),
    "The plugin directory is still mounted",
    *("No image is published", "Anyone who controls the image", "The same applies to the base image"),
)
"""Sentences that claim no protection."""
