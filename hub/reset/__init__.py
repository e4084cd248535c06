"""The processes of one reset: a guard that exits by the deadline, and a worker that calls the plugin's function."""
