"""Bare processes: the same libraries as those of the hub, and the minimum that a row of the benchmarks needs.

What they cost is the floor for the row. When the hub no longer loads one of these libraries, neither must they.
"""
