"""Errors that more than one room raises or handles."""


class UsageError(ValueError):
    """A mistake of the user: one line that names the cause and the fix. Jobs print it and exit with status 2."""


class Damaged(UsageError):
    """A file of ours that is not what was written: a line that names it, what that costs, and what mends it."""


class Unfinished(Exception):
    """Work that failed without a mistake of the user: one line. Jobs print it and exit with status 1."""


class Unreadable(Exception):
    """A sequence, or one file of it, that cannot be read: a reason of a few words, to count by, and a detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
