"""A run: its settings, folder, checkpoints, and its records in MLflow."""
