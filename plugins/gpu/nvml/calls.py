"""Calls of NVML, with a note of the one that is going on."""

import time
from typing import Any

import pynvml

UNINITIALIZED = pynvml.NVML_ERROR_UNINITIALIZED
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
TIMEOUT = pynvml.NVML_ERROR_TIMEOUT
LOST = pynvml.NVML_ERROR_GPU_IS_LOST
MISMATCH = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH

GONE = {pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
"""What a session says whose driver was unloaded."""

MISSING = {pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION}
"""What a card or a driver says that does not have something."""


class NvmlError(Exception):
    """A call failed.

    Args:
        function: The function's name.
        code: What it returned (nvmlReturn_t).
        words: The same in words.
    """

    def __init__(self, function: str, code: int, words: str) -> None:
        super().__init__(f"{function}: {words}")
        self.code = code


class Nvml:
    """NVML, to be used in one thread.

    Attributes:
        current: The call that is going on, and since when (by time.monotonic); without a name when there is none, and
            since when there is none.
    """

    def __init__(self) -> None:
        self.current: tuple[str, float] = ("", 0.0)

    def call(self, function: str, *args: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
        """Call a function of pynvml by its name.

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
        """The same, and None where the card or the driver has no such thing."""
        try:
            return self.call(function, *args)
        except NvmlError as error:
            if error.code in MISSING:
                return None
            raise
