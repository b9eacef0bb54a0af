"""The operations and bytes of a training step, counted without running it, and what machines need for them."""
