"""Mistakes in a plugin's class: `dphub check` finds those that certainly fail, with the location and the remedy."""

import sys
from pathlib import Path

import pytest

from tests.harness.authors import GOOD, Mistake, checked, expected, written

CERTAIN: dict[str, Mistake] = {
    "no devices": (
        "class P(Plugin):  # HERE\n    pass\n",
        "{here}: P has no method devices(), which the hub calls: write def devices(self): yield Device(...)",
    ),
    "devices misspelled": (
        "class P(Plugin):  # HERE\n    def device(self):\n        return []\n",
        "{here}: P has no method devices(), which the hub calls: rename device() at {file}:6 to devices()",
    ),
    "devices is a list": (
        "class P(Plugin):\n    devices = []  # HERE\n",
        "{here}: devices is a list, expected a method: write def devices(self)",
    ),
    "devices returns nothing": (
        "class P(Plugin):\n    def devices(self):  # HERE\n        Device('a')\n",
        "{here}: devices() returns nothing, expected hub.Device objects: yield each of them, or return a list",
    ),
    "devices returns None": (
        "class P(Plugin):\n    def devices(self):  # HERE\n        return None\n",
        "{here}: devices() has 'return None', expected hub.Device objects: yield each of them, or return a list",
    ),
    "async devices": (
        "class P(Plugin):\n    async def devices(self):  # HERE\n        return []\n",
        "{here}: devices() is async, and nothing awaits it: write def devices(self); it runs in a thread and may block",
    ),
    "async generator": (
        "class P(Plugin):\n    async def devices(self):  # HERE\n        yield Device('a')\n",
        "{here}: devices() is async, and nothing awaits it: write def devices(self); it runs in a thread and may block",
    ),
    "async allocate": (
        f"class P(Plugin):\n{GOOD}    async def allocate(self, devices):  # HERE\n        return Allocation()\n",
        (
            "{here}: allocate() is async, and nothing awaits it: write def allocate(self, devices); "
            "it runs in a thread and may block"
        ),
    ),
    "too few arguments": (
        f"class P(Plugin):\n{GOOD}    def prefer(self, available):  # HERE\n        return available\n",
        (
            "{here}: prefer() cannot be called as the hub calls it, too many positional arguments: "
            "write def prefer(self, available, required, size)"
        ),
    ),
    "a constructor without arguments": (
        f"class P(Plugin):\n    def __init__(self):  # HERE\n        super().__init__()\n{GOOD}",
        (
            "{here}: __init__() cannot be called as the hub calls it, too many positional arguments: "
            "write def __init__(self, settings, host, runtime)"
        ),
    ),
    "a constructor without that of Plugin": (
        f"class P(Plugin):\n    def __init__(self, settings, host, runtime):  # HERE\n        self.n = 1\n{GOOD}",
        "{here}: __init__() does not call the base class: begin with super().__init__(settings, host, runtime)",
    ),
    "allocate returns a dict": (
        f"class P(Plugin):\n{GOOD}    def allocate(self, devices):  # HERE\n        return {{'env': {{}}}}\n",
        (
            """{here}: allocate() has "return {{'env': {{}}}}", expected a hub.Allocation: """
            "return Allocation(nodes=[...], env={{...}})"
        ),
    ),
    "a scan interval that is a string": (
        f"class P(Plugin):\n    scan_interval = '10'  # HERE\n{GOOD}",
        "{here}: scan_interval is '10', expected a number of seconds, such as 10",
    ),
    "a reset that is a method": (
        f"class P(Plugin):\n{GOOD}    def reset(self, device):  # HERE\n        pass\n",
        (
            "{here}: reset is <function P.reset>, "
            'expected a string, "module:function", since it runs in a process of its own'
        ),
    ),
    "no module of the reset": (
        f"class P(Plugin):\n    reset = 'no_such_module:reset'  # HERE\n{GOOD}",
        '{here}: reset is "no_such_module:reset": there is no module no_such_module',
    ),
    "no function of the reset": (
        f"class P(Plugin):\n    reset = 'author_reset:rset'  # HERE\n{GOOD}",
        '{here}: reset is "author_reset:rset": {reset} has no rset; did you mean reset?',
    ),
    "a reset of one argument": (
        f"class P(Plugin):\n    reset = 'author_reset:one'  # HERE\n{GOOD}",
        (
            '{here}: reset is "author_reset:one": {reset}:4: one() cannot be called with a device and settings: '
            "write def one(device, settings)"
        ),
    ),
    "an async reset": (
        f"class P(Plugin):\n    reset = 'author_reset:asynchronous'  # HERE\n{GOOD}",
        (
            '{here}: reset is "author_reset:asynchronous": {reset}:7: asynchronous() is async, and nothing awaits it: '
            "write def asynchronous(device, settings)"
        ),
    ),
    "settings without annotation": (
        (
            "class S(Settings, frozen=True):\n    timeout = 5  # HERE\n    size: int = 1\n\n\n"
            f"class P(Plugin):\n    settings: S\n{GOOD}"
        ),
        "{here}: timeout = 5 in S has no annotation, so no file can set it: write timeout: int = 5",
    ),
    "settings that are assigned": (
        f"class S(Settings, frozen=True):\n    size: int = 1\n\n\nclass P(Plugin):\n    settings = S  # HERE\n{GOOD}",
        "{here}: settings = S does not say what the file is decoded into: write settings: S",
    ),
    "settings that do not exist": (
        f"class P(Plugin):  # HERE\n    settings: 'Missing'\n{GOOD}",
        "{here}: the annotations of P cannot be read: NameError: name 'Missing' is not defined",
    ),
    "a constructor that fails": (
        f"class P(Plugin):\n    def __init__(self, *arguments):\n        os.stat('/nowhere')  # HERE\n{GOOD}",
        "P() failed at {here}: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'",
    ),
    "a module that fails": (
        "x = nothing  # HERE\n",
        "plugin \"{file}:P\": its module cannot be imported: at {here}: NameError: name 'nothing' is not defined",
    ),
    "a name that hub does not have": (
        "from hub import Devise  # HERE\n",
        (
            "plugin \"{file}:P\": its module cannot be imported: at {here}: ImportError: cannot import name 'Devise' "
            "from 'hub' ({hub}); did you mean Device?"
        ),
    ),
    "a base class that hub does not have": (
        f"import hub\n\n\nclass P(hub.Plugins):  # HERE\n{GOOD}",
        (
            'plugin "{file}:P": its module cannot be imported: at {here}: AttributeError: '
            "module 'hub' has no attribute 'Plugins'; did you mean Plugin?"
        ),
    ),
    "a class that is not a plugin": (
        f"class P:  # HERE\n{GOOD}",
        'plugin "{file}:P": {here}: P is not a subclass of hub.Plugin: write class P(Plugin)',
    ),
    "a class of settings in the place of the plugin": (
        f"class P(Settings, frozen=True):\n    size: int = 1\n\n\nclass Camera(Plugin):\n{GOOD}",
        'plugin "{file}:P": P is not a subclass of hub.Plugin; {file} has Camera',
    ),
    "a module that is not installed": (
        "import nowhere_to_be_found  # HERE\n",
        'plugin "{file}:P": {here} needs module nowhere_to_be_found, which is not installed',
    ),
}


DOUBTFUL: dict[str, Mistake] = {
    "a method that is never called": (
        f"class P(Plugin):\n{GOOD}    def on_allocate(self, devices):  # HERE\n        pass\n",
        "{here}: the hub never calls on_allocate(); did you mean allocate()?",
    ),
    "a method for the kubelet's call before a start": (
        f"class P(Plugin):\n{GOOD}    def pre_start_container(self, devices):  # HERE\n        pass\n",
        (
            "{here}: the hub never calls pre_start_container(): "
            'name the function that resets a device: write reset = "module:function"'
        ),
    ),
    "an attribute that is never read": (
        f"class P(Plugin):\n    resourse = 'example.com/stub'  # HERE\n{GOOD}",
        "{here}: the hub never reads resourse; did you mean resource?",
    ),
    "a call in the place of a return": (
        (
            f"class P(Plugin):\n{GOOD}"
            "    def allocate(self, devices):  # HERE\n        self.refuse()\n"
            "    def refuse(self):\n        raise OSError('these are not for containers')\n"
        ),
        "{here}: allocate() returns nothing, expected a hub.Allocation: return Allocation(nodes=[...], env={{...}})",
    ),
    "a wrong return among right ones": (
        (
            f"class P(Plugin):\n{GOOD}"
            "    def allocate(self, devices):  # HERE\n        if not devices:\n            return {}\n"
            "        return super().allocate(devices)\n"
        ),
        "{here}: allocate() has 'return {{}}', expected a hub.Allocation: return Allocation(nodes=[...], env={{...}})",
    ),
}


RIGHT = {
    "properties": (
        "class P(Plugin):\n    @property\n    def resource(self):\n        return 'example.com/stub'\n"
        f"    @property\n    def reset(self):\n        return 'author_reset:reset'\n{GOOD}"
    ),
    "a name out of an enumeration": (
        "import enum\nclass Name(enum.StrEnum):\n    STUB = 'example.com/stub'\n"
        f"class P(Plugin):\n    resource = Name.STUB\n{GOOD}"
    ),
}


RESETS = """def reset(device, settings):
    pass

def one(device):
    pass

async def asynchronous(device, settings):
    pass
"""


@pytest.fixture(autouse=True)
def author_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a module with resets that can be imported."""
    file = tmp_path / "author_reset.py"
    file.write_text(RESETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    # A check with a scan imports it, and would find another test's module of this name in place of this one.
    monkeypatch.delitem(sys.modules, "author_reset", raising=False)
    return file


@pytest.mark.parametrize(("code", "words"), CERTAIN.values(), ids=CERTAIN)
def test_check_says_what_certainly_fails(tmp_path: Path, code: str, words: str) -> None:
    """One sentence describes the one mistake: where it is, what it is, and what to write."""
    file = written(tmp_path, code)
    assert checked(file).problems == (expected(words, file),)


@pytest.mark.parametrize(("code", "words"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_check_warns_of_what_is_most_likely_a_mistake(tmp_path: Path, code: str, words: str) -> None:
    """It does not prevent a start."""
    file = written(tmp_path, code)
    report = checked(file)
    assert (report.problems, report.warnings) == ((), (expected(words, file),))


@pytest.mark.parametrize("code", RIGHT.values(), ids=RIGHT)
def test_check_accepts_what_works(tmp_path: Path, code: str) -> None:
    """A plugin that fails the check does not start, so nothing that could work is refused."""
    report = checked(written(tmp_path, code), scan=True)
    assert (report.problems, report.warnings) == ((), ())
