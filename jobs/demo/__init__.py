"""`assent demo`: the main job on a sample of conversations, with real faults on the way and no account anywhere."""

from pathlib import Path


def run_demo(folder: Path, *, as_json: bool) -> int:
    """Run the demo in a folder of its own and return the exit code: see `jobs.demo.run`."""
    # Imported late: the demo's children import this package too, and wait for none of that.
    from jobs.demo.run import run

    return run(folder, as_json=as_json)
