"""Workers on a host: what one serves and refuses, its device, cores and signals; and a fleet, run to its end."""
