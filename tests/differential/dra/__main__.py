"""Compare the DRA side of the fake kubelet with real ones, using random scripts.

python -m tests.differential.dra --kubelet 1.36 --count 100 --seed 1
"""

import sys

from tests.differential.__main__ import run
from tests.differential.dra.comparison import compare
from tests.harness.drabuild import VERSIONS

if __name__ == "__main__":
    sys.exit(run("python -m tests.differential.dra", __doc__, VERSIONS, compare))
