"""From a study to the folder of a detector: chosen, rebuilt on this host, written, and proved."""
