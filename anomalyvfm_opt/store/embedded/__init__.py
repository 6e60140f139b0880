"""The embedded PostgreSQL: programs from a wheel, and a cluster of our own in the state folder."""
