"""Masks, parsing maps and skeletons to the canonical grid, and from it to the encoder's input."""
