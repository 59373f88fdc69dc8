"""Readers of weights that were trained elsewhere."""
