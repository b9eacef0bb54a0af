"""Specs of collections: custom ones, other partitions, and which one holds for a store."""
