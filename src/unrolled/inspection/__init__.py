"""What happened inside: a text read by a trained net, and what its units, gates and memory did."""
