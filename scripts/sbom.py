"""Write the image's software bill of materials: `python -m scripts.sbom FILE`; `make release-check` does it, too.

It lists the Python packages in the image, with their versions and hashes, in CycloneDX format, which scanners read.
It is generated from the lock, so it needs neither the image nor a network. It does not list the contents of the base
image, which has its own bill of materials.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hub._version import __version__
from scripts import lock


def write_bill(path: Path) -> dict[str, Any]:
    """Write the bill of materials; the same lock and version produce the same file."""
    # The tool warns that it cannot determine which package needs which: a lock does not contain that.
    command = [sys.executable, "-W", "ignore::UserWarning", "-m", "cyclonedx_py", "requirements", str(lock.RUNTIME)]
    options = [f"--pyproject={lock.ROOT / 'pyproject.toml'}", "--output-reproducible"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True)
    bill: dict[str, Any] = json.loads(done.stdout)
    # pyproject.toml does not contain the version.
    bill["metadata"]["component"]["version"] = __version__
    path.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    return bill


def main() -> None:
    """Write the bill of materials to the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    write_bill(parser.parse_args().file)


if __name__ == "__main__":
    main()
