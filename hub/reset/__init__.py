"""The processes of one reset: a guard that ends at the deadline, and a worker that calls the plugin's function."""
