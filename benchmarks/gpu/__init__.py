"""A check of a machine with GPUs: what is computed there is right, and how fast it is."""
