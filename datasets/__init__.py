"""What a walk is, and where the gait collections keep theirs.

This is the project's own package. Hugging Face's `datasets` must not be a dependency: it would contend for this name.
"""
