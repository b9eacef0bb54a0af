"""Masks to chain-coded contours and back, bit for bit."""
