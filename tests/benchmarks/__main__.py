"""`python -m tests.benchmarks [--quick] [--only NAME]`: see `table`."""

import sys

# Processes that what is measured starts import this file too, and need none of the rest.
if __name__ == "__main__":
    from tests.benchmarks.table import main

    sys.exit(main())
