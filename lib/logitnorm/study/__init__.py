"""The evidence: from run folders to verdicts."""

import os
import sys


def report(error: Exception) -> int:
    """Print the sentence; also append it to the file LOGITNORM_ERRORS, which `make book` repeats at its end."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    if os.environ.get("LOGITNORM_ERRORS"):
        with open(os.environ["LOGITNORM_ERRORS"], "a", encoding="utf-8") as log:
            log.write(f"error: {error}\n")
    return 1
