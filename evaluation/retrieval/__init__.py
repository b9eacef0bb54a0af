"""Retrieval protocols: rankings of a gallery for each probe, Rank-k, mAP and mINP."""
