"""`python -m jobs.demo.child PROGRAM …`: one of our programs as a child that ends when the demo does.

The demo holds the other end of this process's standard input and writes nothing to it: it ends when the demo ends,
even by `kill -9`, which leaves nobody to tidy up.
"""

import os
import signal
import sys
import threading
import time

_GRACE = 5.0


def main() -> None:
    """Run the program until it ends, or until nobody is there any more to whom it belongs."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    program, *arguments = sys.argv[1:]
    if program == "salesforce-standin":
        from connectors.salesforce.standin.__main__ import main as standin

        sys.exit(standin(arguments))
    from jobs.cli.main import main as assent

    sys.argv[1:] = [program, *arguments]
    assent()


def _end_with_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
