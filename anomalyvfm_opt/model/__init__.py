"""The detector: a frozen backbone, an adapter inside it, and the heads on top."""
