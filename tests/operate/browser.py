"""How Chromium is started here: without a screen, and without asking anybody on the network."""

import sys
from pathlib import Path

CHROMIUM = Path(sys.executable).with_name("chromium")
FLAGS = [
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
