"""`study plan`: what a search would cost and could show."""
