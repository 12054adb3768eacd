"""Gated cells as machine code: traced, differentiated, written in C++, compiled at first use."""
