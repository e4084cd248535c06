"""How libraries are found."""

import ctypes.util

import pytest

from hub.base.clibrary import skip_c_library_search


def test_the_c_library_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not searched for, as its file name is known; every other library is searched for."""
    searched = []
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: searched.append(name) or f"lib{name}.so")
    skip_c_library_search()
    found = ctypes.util.find_library("c")
    assert ctypes.CDLL(found).inotify_init
    assert ctypes.util.find_library("nvidia-ml") == "libnvidia-ml.so"
    assert searched == ["nvidia-ml"]


def test_a_c_library_of_another_name_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """This applies to systems without glibc."""

    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.musl.so")
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    skip_c_library_search()
    assert ctypes.util.find_library("c") == "libc.musl.so"
