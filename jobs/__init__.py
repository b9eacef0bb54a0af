"""The command lines, each run as `python -m jobs.<job>` from the root of the repository."""
