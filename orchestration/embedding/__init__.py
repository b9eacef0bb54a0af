"""Driver: shards and a checkpoint to a table of embeddings."""
