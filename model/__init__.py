"""The science of learning: torch, and nothing that knows a cluster."""
