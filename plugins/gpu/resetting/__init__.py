"""PLACEHOLDER by the lead; the reset helper replaces this package."""
