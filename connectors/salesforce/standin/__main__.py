"""`python -m connectors.salesforce.standin --package DIR --state DIR`: the stand-in as its own process."""

import argparse
import gc
import signal
import sys
import threading
from pathlib import Path

from connectors.salesforce.standin.org import log
from connectors.salesforce.standin.schema import SchemaError
from connectors.salesforce.standin.standin import StandIn, write_ready_file


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m connectors.salesforce.standin", description=main.__doc__)
    parser.add_argument("--package", type=Path, required=True, help="the SFDX package that the org has deployed")
    parser.add_argument("--state", type=Path, required=True, help="where records, certificates and ports are kept")
    parser.add_argument("--port", type=int, help="0: any; default: that of the last start, or any")
    parser.add_argument("--control-port", type=int, help="likewise for the control address")
    parser.add_argument("--ready-file", type=Path, help="written as JSON once the org answers")
    chosen = parser.parse_args(arguments)
    ended = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: ended.set())
    standin = StandIn(package=chosen.package, state=chosen.state, port=chosen.port, control_port=chosen.control_port)
    try:
        standin.start()
        # What a request leaves behind has no cycles: looking for them at every turn costs a tenth of the work.
        gc.freeze()
        gc.set_threshold(100_000)
    except (SchemaError, OSError) as error:
        log("standin.refused", reason=str(error))
        return 4
    if chosen.ready_file is not None:
        write_ready_file(chosen.ready_file, standin.address)
    ended.wait()
    standin.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
