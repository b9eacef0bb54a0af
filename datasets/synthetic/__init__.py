"""Synthetic walkers, written to disk in the layouts of the collections."""
