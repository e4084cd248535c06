"""The structs that processes write and other processes read: data only."""
