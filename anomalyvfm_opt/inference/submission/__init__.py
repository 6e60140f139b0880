"""A submission to MVTec AD 2's server: its layout, maps in half precision, an inspection, and an archive."""
