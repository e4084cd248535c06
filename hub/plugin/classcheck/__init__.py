"""Definite mistakes in a plugin's class, found without calling its methods."""
