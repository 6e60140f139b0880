"""A worker's life on a host: what it serves, what it refuses, its device, its cores, its signals."""
