"""What everything agrees on: the row, protocols, what a collection declares, errors."""
