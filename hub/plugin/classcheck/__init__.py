"""What is certainly wrong with a plugin's class, found without calling its methods."""
