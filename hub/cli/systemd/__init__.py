"""The hub as a service of systemd: its unit, and the programs and files of a node that the unit depends on."""
