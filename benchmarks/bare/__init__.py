"""Bare processes: the same libraries as those of the hub, and the minimum that a row of the benchmarks needs.

What they cost is the floor for the row. When the hub stops loading one of these libraries, so must they.
"""
