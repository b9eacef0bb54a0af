"""Results as tables, CSV, Markdown and pictures."""
