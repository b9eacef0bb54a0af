"""Driver: a trained run to a released encoder with its model card."""
