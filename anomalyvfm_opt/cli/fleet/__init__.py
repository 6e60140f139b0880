"""Many workers: started on this host, listed, drained, reaped."""
