"""The structs that processes write and others read: data only."""
