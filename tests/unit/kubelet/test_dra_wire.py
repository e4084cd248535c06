"""The messages of the kubelet's APIs for dynamic resource allocation, as a kubelet sends and expects them."""

from hub.kubelet.wire import dra_pb2, drahealth_pb2, pluginregistration_pb2


def test_a_driver_describes_itself_as_the_kubelet_reads_it() -> None:
    """The field numbers match the kubelet's, so that it finds a driver's endpoint."""
    info = pluginregistration_pb2.PluginInfo(type="T", name="N", endpoint="E", supported_versions=["V"])

    assert info.SerializeToString() == b"\x0a\x01T\x12\x01N\x1a\x01E\x22\x01V"


def test_a_claim_is_read_as_the_kubelet_sends_it() -> None:
    """The namespace comes first, then the uid, then the name."""
    request = dra_pb2.NodePrepareResourcesRequest.FromString(b"\x0a\x09\x0a\x01s\x12\x01u\x1a\x01n")

    assert [(each.namespace, each.uid, each.name) for each in request.claims] == [("s", "u", "n")]


def test_a_prepared_device_is_written_as_the_kubelet_reads_it() -> None:
    """A device without a share has no such field at all: to a kubelet, an empty share is a different device."""
    device = dra_pb2.Device(request_names=["r"], pool_name="p", device_name="d", cdi_device_ids=["c"])

    assert device.SerializeToString() == b"\x0a\x01r\x12\x01p\x1a\x01d\x22\x01c"


def test_the_health_of_a_device_is_written_as_the_kubelet_reads_it() -> None:
    """The timeout and the message are in the fields in which the kubelet looks for them."""
    health = drahealth_pb2.DeviceHealth(health="UNHEALTHY", health_check_timeout_seconds=60, message="m")

    assert health.SerializeToString() == b"\x10\x02\x20\x3c\x2a\x01m"
