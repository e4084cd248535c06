"""Measure how fast the hub is, against a fake kubelet on this machine."""

import hub.kubelet  # noqa: F401 - before gRPC, because it silences gRPC's core
