"""The processes of one reset: a guard that ends with its deadline, and a worker that calls the plugin's function."""
