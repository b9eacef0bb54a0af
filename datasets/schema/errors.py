"""The errors that end a job with one line: the user's mistakes, and work that could not be finished."""


class UsageError(ValueError):
    """A mistake of the user's: its text is one line that names the cause and the fix; jobs exit with status 2."""


class Unfinished(Exception):
    """Work that could not be brought to its end through no mistake of the user's: one line; jobs exit with status 1."""


class Unreadable(Exception):
    """Data that cannot be read, a sequence or one file of it: a reason to count by, and a detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
