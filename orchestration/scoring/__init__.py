"""Drivers of evaluation: embeddings to tables and pictures, and of identification and fine-tuned runs."""
