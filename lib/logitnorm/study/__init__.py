"""The evidence: from run folders to verdicts."""

import io
import os
import sys


def say(line: str) -> None:
    """Print a line of progress at once; where nobody reads it any more (`| head -1`), the work goes on in silence."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_anywhere() -> None:
    """What this terminal has no letter for is printed as a question mark, and ends nothing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def report(error: Exception) -> int:
    """Print the sentence; also append it to the file LOGITNORM_ERRORS, which `make book` repeats at its end."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    if os.environ.get("LOGITNORM_ERRORS"):
        with open(os.environ["LOGITNORM_ERRORS"], "a", encoding="utf-8") as log:
            log.write(f"error: {error}\n")
    return 1
