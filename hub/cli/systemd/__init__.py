"""The hub as a systemd service: its unit, and the programs and files on a node that the unit depends on."""
