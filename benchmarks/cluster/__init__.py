"""What a cluster has many of, on one machine."""
