"""Starts `assent` commands as processes of their own that need not import everything anew: `chaos_nursery.py`.

Reads a JSON line a wish, `{"start": [arguments], "log": path}` or `{"wait": pid}`, and answers with `{"pid": pid}` or
`{"code": exit code, negative for a signal}`.
"""

import gc
import json
import os
import sys
from importlib import import_module

from jobs.cli.main import main

# What the commands import when they run; none of these starts a thread.
for name in (
    "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "jobs.serve", "jobs.api", "jobs.web.pages",
    "jobs.web.receiver", "jobs.scheduler", "jobs.cli.mishaps", "jobs.asking", "sync.syncing", "sync.resync", "psycopg",
    "simple_salesforce", "connectors.salesforce.connector", "connectors.archive.connector",
    "connectors.portal.connector", "connectors.portal.migrate",
):  # fmt: skip
    import_module(name)


def start(arguments: list[str], log: str) -> int:
    """Fork a process that runs one command, its output in a file."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv[1:] = arguments
    code = 99
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            told = {"pid": start(asked["start"], asked["log"])}
        else:
            told = {"code": os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
