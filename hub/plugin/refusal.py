"""A request of the kubelet that is answered with an error."""

import grpc


class Refusal(Exception):
    """The text reaches the pod's events."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
