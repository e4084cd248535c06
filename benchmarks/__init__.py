"""Benchmarks of the hub, run with a fake kubelet on this machine."""

import hub.kubelet  # noqa: F401 - before gRPC, because it silences gRPC's core
