"""Collections of one's own, other partitions, and which specification holds for a store."""
