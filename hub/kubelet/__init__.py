"""Clients of the kubelet's APIs, and readers of its files."""

import os

# gRPC's core reads these once, so they have to be set before it is imported.
# It would write lines to stderr about errors that the hub handles and logs itself.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# One of gRPC's timers would poll the connections of clients every five seconds; `grpc.aio` polls them anyway.
os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "0")
