"""Errors from calls to the API server, and when to try again."""

import random

from hub.base.errors import HubError

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_LONGEST_ASKED = 120.0
"""The longest delay that the server may ask for."""
_REJECTED_DELAY = 5.0
"""The first delay after a request that the server has rejected: a permission may have been granted a moment ago."""
_LONGEST_REJECTED = 300.0

CONFLICT = 409
GONE = 410
NOT_FOUND = 404
UNPROCESSABLE = 422
_UNAUTHORIZED = 401
_TOO_MANY = 429
_FIRST_SERVER_ERROR = 500


class ApiError(HubError):
    """A call that failed.

    Args:
        status: The status code; 0 if there was no response.
        reason: The server's message, or why there was no response.
        retry_after: The delay in seconds that the server asks for; 0 if it asks for none.
    """

    def __init__(self, status: int, reason: str, retry_after: float = 0) -> None:
        super().__init__(f"{status}: {reason}" if status else reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @property
    def is_outage(self) -> bool:
        """Whether the server did not respond, or was overloaded: the same request may succeed later."""
        return self.status in (0, _TOO_MANY) or self.status >= _FIRST_SERVER_ERROR

    @property
    def is_transient(self) -> bool:
        """Whether another attempt may succeed soon: after an outage, with a new token, or with an object read again."""
        return self.is_outage or self.status in (_UNAUTHORIZED, CONFLICT, UNPROCESSABLE)


class Backoff:
    """The delays between attempts: each is twice as long as the one before, up to a limit, and partly random.

    Without the random part, all nodes of a cluster would try again at the same moment.
    """

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Start again with the shortest delay, after a success."""
        self._failures = 0

    def delay(self, error: ApiError) -> float:
        """Return the seconds to wait after a failure."""
        first, longest = (_FIRST_DELAY, _LONGEST_DELAY) if error.is_transient else (_REJECTED_DELAY, _LONGEST_REJECTED)
        base = min(longest, first * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        random_part = random.uniform(0.5, 1.0) * base  # noqa: S311 - not a secret
        return max(random_part, min(error.retry_after, _LONGEST_ASKED))
