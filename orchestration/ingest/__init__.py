"""Driver: collections to a store of shards."""
