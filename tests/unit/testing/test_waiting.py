"""`wait_until`, which authors of plugins use to wait in their tests."""

import pytest

from hub.testing import wait_until


async def test_the_first_true_value_is_returned() -> None:
    """A test can use what it has waited for."""
    values = iter([0, None, "", "ready", "late"])
    assert await wait_until(lambda: next(values), "a value") == "ready"


async def test_a_condition_that_stays_false_is_named() -> None:
    """The error says what did not happen, and within what time."""
    with pytest.raises(AssertionError, match=r"^not seen in 0\.01 s: a blue moon$"):
        await wait_until(lambda: False, "a blue moon", timeout=0.01)


async def test_an_error_of_the_condition_ends_the_wait() -> None:
    """A test fails at once where the condition can no longer become true."""

    def failed() -> bool:
        raise RuntimeError("the plugin has exited")

    with pytest.raises(RuntimeError, match="the plugin has exited"):
        await wait_until(failed, "a plugin")
