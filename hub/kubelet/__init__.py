"""The kubelet's side: the wire APIs, a fake kubelet, a client of the pod resources API."""

import os

# gRPC's core, which reads this once, writes lines of its own to stderr for what we handle and say ourselves.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
