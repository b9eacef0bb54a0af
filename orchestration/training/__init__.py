"""Drivers of training: Ray Train's trainer, its monitor, validation of checkpoints."""
