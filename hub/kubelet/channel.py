"""What all gRPC channels to a socket on this node have in common."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # Otherwise channels to the same path would share a connection, and wait between its attempts to connect.
    ("grpc.use_local_subchannel_pool", 1),
    # gRPC itself repeats a call that it could not send before the connection ended. If the server ends at that moment,
    # grpcio 1.85 repeats it without end, and takes gigabytes of memory within seconds.
    ("grpc.enable_retries", 0),
)
"""The options of `grpc.insecure_channel`."""
