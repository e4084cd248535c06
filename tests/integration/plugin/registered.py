"""The registrations that a kubelet has received."""

from hub.testing.kubelet import FakeKubelet

THREE = """
resources:
  - {name: example.com/a, devices: 1}
  - {name: example.com/b, devices: 2}
  - {name: other.example.org/C_3, devices: 3}
"""


def registered_in(kubelet: FakeKubelet, start: int) -> list[str]:
    """Return the resources that registered with one start of the kubelet, in order."""
    return sorted(each.resource for each in kubelet.registrations if each.start == start)
