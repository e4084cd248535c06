"""The errors of an API server, with the texts that it uses."""

import json
from collections.abc import Sequence

from hub.testing.apiserver.kinds import Kind, Object

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE, INVALID = 401, 403, 404, 409, 410, 422
BAD_REQUEST, NOT_ALLOWED, UNSUPPORTED = 400, 405, 415

_REASONS = {
    BAD_REQUEST: "BadRequest",
    UNAUTHORIZED: "Unauthorized",
    FORBIDDEN: "Forbidden",
    NOT_FOUND: "NotFound",
    NOT_ALLOWED: "MethodNotAllowed",
    CONFLICT: "Conflict",
    GONE: "Expired",
    UNSUPPORTED: "UnsupportedMediaType",
    INVALID: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class RequestError(Exception):
    """A request that fails.

    Args:
        code: The HTTP status code.
        message: What is wrong.
        reason: The reason in one word; by default that of the code.
    """

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason or _REASONS.get(code, "Unknown"),
            "code": code,
        }


def not_found(kind: Kind, name: str) -> RequestError:
    """Return the error for an object that does not exist."""
    return RequestError(NOT_FOUND, f"{kind.qualified} {_quoted(name)} not found")


def already_exists(kind: Kind, name: str) -> RequestError:
    """Return the error for an object that is created twice."""
    return RequestError(CONFLICT, f"{kind.qualified} {_quoted(name)} already exists", "AlreadyExists")


def conflict(kind: Kind, name: str, cause: str = "") -> RequestError:
    """Return the error for a change to an object that is not as the caller expects."""
    words = cause or "the object has been modified; please apply your changes to the latest version and try again"
    return RequestError(CONFLICT, f"Operation cannot be fulfilled on {kind.qualified} {_quoted(name)}: {words}")


def invalid(kind: Kind, name: str, errors: Sequence[str]) -> RequestError:
    """Return the error for an object that breaks a rule."""
    distinct = list(dict.fromkeys(errors))
    words = distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"
    return RequestError(INVALID, f"{kind.qualified_name} {_quoted(name)} is invalid: {words}")


def expired(asked: int, oldest: int) -> RequestError:
    """Return the error for a watch from a version that the server no longer has."""
    return RequestError(GONE, f"too old resource version: {asked} ({oldest})")


def _quoted(name: str) -> str:
    return json.dumps(name)
