"""The devices of a plugin: scans, validation, and the lists made of them."""
