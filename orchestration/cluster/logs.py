"""The logging configuration of every process: drivers set it in jobs/cli.py, Ray's workers in worker.py.

Modules log through `logging.getLogger(__name__)`: what a user must know at INFO or WARNING, details at DEBUG. Only what
a job exists to show goes to stdout, and only jobs/ prints it.
"""

import logging
import os
import sys

OURS = ("jobs", "orchestration", "datasets", "model", "evaluation")
VERBOSE = "FOUNDATIONGAIT_VERBOSE"  # an environment variable, so that processes started from this one log alike
_FORMAT, _TIME = "%(asctime)s %(levelname)s %(message)s", "%m-%d %H:%M:%S"


def configure(verbose: bool = False) -> None:
    """Log to stderr: our modules from INFO on, other libraries from WARNING on; if verbose, from DEBUG and INFO on.

    A process that was verbose once stays so, and so do those that it starts.
    """
    if verbose:
        os.environ[VERBOSE] = "1"
    verbose = bool(os.environ.get(VERBOSE))
    root = logging.getLogger()
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
    if not any(isinstance(one, _Terminal) for one in root.handlers):
        handler = _Terminal()
        handler.setFormatter(logging.Formatter(_FORMAT, _TIME))
        root.addHandler(handler)


class _Terminal(logging.Handler):
    """Writes lines to stderr, above the progress bars that are open there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = self.format(record)
            if "tqdm" in sys.modules:  # else no bar is open, and the import would take longer than the line
                sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(line + "\n")
        except Exception:
            self.handleError(record)
