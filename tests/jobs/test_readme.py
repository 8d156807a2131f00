"""The README's commands do what it says."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_commands_of_the_readme_run_in_an_empty_folder(bare):
    text = (ROOT / "README.md").read_text()
    [block] = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    ended = subprocess.run(
        ["sh", "-e"], input=block, cwd=bare.folder, env=bare.environ(), capture_output=True, text=True, timeout=120
    )

    assert ended.returncode == 0, ended.stderr
    assert '"verdict":"blocked"' in ended.stdout
    assert '"state":"opted_in"' in ended.stdout
    assert re.search(r"^archive +ok +0", ended.stdout, re.MULTILINE)
    assert (bare.folder / "entries.jsonl").stat().st_size > 0


def test_the_files_that_the_readmes_link_to_are_there():
    for readme in [path for path in ROOT.rglob("README.md") if ".venv" not in path.parts and "var" not in path.parts]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", readme.read_text()):
            assert (readme.parent / target).exists(), f"{readme.relative_to(ROOT)} links to {target}"
