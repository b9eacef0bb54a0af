"""One sequence from its folder to a row, or to a reject with a reason."""
