"""Names of resources, and devices, that a kubelet accepts."""

from hypothesis import given
from hypothesis import strategies as st

from hub import Device
from hub.plugin.devices.validation import validate_device, validate_resource_name
from hub.testing.kubelet.names import is_extended_resource_name

NAMES = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True)


ALMOST_RESOURCES = st.one_of(
    st.from_regex(r"(requests\.|a\.kubernetes\.io|kubernetes\.io)?[a-zA-Z0-9._-]{0,8}(/[a-zA-Z0-9._ä-]{0,66}){0,2}"),
    st.text(alphabet="ab.-_/A0\nä", max_size=12),
    st.builds("{}/{}".format, st.integers(225, 260).map(lambda n: "d" * n), NAMES),
)


@given(ALMOST_RESOURCES)
def test_resource_names_are_judged_as_a_kubelet_does(name: str) -> None:
    """No kubelet refuses what passes our check, and none accepts what fails it."""
    assert bool(validate_resource_name(name)) is not is_extended_resource_name(name)


def test_a_plain_device_has_no_problem() -> None:
    """An id is enough."""
    assert validate_device(Device("d0"), {}) == ""
