"""Calls to NVML, with a record of the current one."""

import time
from typing import Any

import pynvml

UNINITIALIZED = pynvml.NVML_ERROR_UNINITIALIZED
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
UNKNOWN = pynvml.NVML_ERROR_UNKNOWN
TIMEOUT = pynvml.NVML_ERROR_TIMEOUT
LOST = pynvml.NVML_ERROR_GPU_IS_LOST
MISMATCH = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH

GONE = {pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
"""Errors in a session whose driver was unloaded."""

ENDED = GONE | {LOST, MISMATCH}
"""Errors from a GPU, or a driver, that no longer responds."""

MISSING = {
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
}
"""Errors for something that the card does not have, or that the driver does not have yet or no longer has."""


class NvmlError(Exception):
    """The failure of a call.

    Args:
        function: The function's name.
        code: What it returned (nvmlReturn_t).
        message: NVML's text for the code.
    """

    def __init__(self, function: str, code: int, message: str) -> None:
        super().__init__(f"{function}: {message}")
        self.code = code


class Nvml:
    """NVML, for use in one thread.

    Attributes:
        current: The name of the current call and its start (time.monotonic); between calls, no name and the end of the
            last call.
    """

    def __init__(self) -> None:
        self.current: tuple[str, float] = ("", 0.0)

    def call(self, function: str, *args: Any) -> Any:  # noqa: ANN401 - the function's own types
        """Call a function of pynvml, given by name. Its result is essential: without it, the GPU cannot be used.

        Raises:
            NvmlError: it failed.
        """
        self.current = (function, time.monotonic())
        try:
            return getattr(pynvml, function)(*args)
        except pynvml.NVMLError as error:
            raise NvmlError(function, error.value, str(error)) from None
        finally:
            self.current = ("", time.monotonic())

    def ask(self, function: str, *args: Any) -> Any:  # noqa: ANN401 - as above
        """Call a function whose result is optional.

        Returns:
            None if the card or the driver does not support it.

        Raises:
            NvmlError: it failed for another reason.
        """
        try:
            return self.call(function, *args)
        except NvmlError as error:
            if error.code in MISSING:
                return None
            raise

    def attempt(self, function: str, *args: Any) -> bool:  # noqa: ANN401 - as above
        """Call an optional function that returns nothing.

        Returns:
            Whether the card and the driver support it.

        Raises:
            NvmlError: it failed for another reason.
        """
        try:
            self.call(function, *args)
        except NvmlError as error:
            if error.code in MISSING:
                return False
            raise
        return True
