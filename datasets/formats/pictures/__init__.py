"""One decoder for each kind of picture, and what they share."""
