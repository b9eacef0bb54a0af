"""The verbs, each run as `python -m jobs.<verb>` from the root of the repository."""
