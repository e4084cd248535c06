"""Devices that are not there: the tutorial, the test piece, and the proof of a node."""
