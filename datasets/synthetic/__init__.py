"""Synthetic walkers, written to disk as the owners of each collection release theirs."""
