"""Images: layouts, scenes and splits, the store of decoded arrays, demo data."""
