"""Run several commands one after another, each in a process of its own that need not import everything anew.

Reads a JSON list of argument lists, and prints a JSON list of [code, stdout, stderr].
"""

import json
import os
import sys
import tempfile
from importlib import import_module

from jobs.cli.main import main

# What nearly every command imports; no connection is open when a process parts.
for name in ("jobs.asking", "jobs.build", "jobs.logs", "jobs.cli.mishaps", "sync.resync"):
    import_module(name)


def run(arguments):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv[1:] = arguments
            try:
                main()
            except SystemExit as end:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code)
            os._exit(99)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return [os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode()]


if __name__ == "__main__":
    sys.stdout.write(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))
