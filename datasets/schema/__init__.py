"""What every room agrees on: the row, protocols, what a collection declares, strict JSON, errors."""
