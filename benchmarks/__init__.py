"""How fast the hub is, measured against a fake kubelet on this machine."""

import hub.kubelet  # noqa: F401 - before gRPC, whose core it tells to be quiet
