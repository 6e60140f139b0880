"""What a spec's studies will cost, and the smallest gain that they could show."""
