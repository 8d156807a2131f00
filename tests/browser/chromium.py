"""The browser of these tests: Debian's Chromium, on the machine or unpacked by `tests/system-packages`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

_HERE = Path(__file__).parents[2]
ADVICE = (
    "Chromium isn't on this machine: run `tests/system-packages` (`make test` does), or install it "
    "(on Debian: apt-get install chromium)"
)
#: Nothing that isn't asked of it: no updates, no sync, no first-run pages, no QUIC.
_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--force-color-profile=srgb", "--font-render-hinting=none",
]  # fmt: skip


class NoChromiumError(Exception):
    """There is no Chromium on this machine; the message says what to install."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; NoChromiumError says what to install where there is none."""
    path, environment = _found()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS, env=environment)
        try:
            yield browser
        finally:
            browser.close()


def _found() -> tuple[str, dict[str, str]]:
    installed = shutil.which("chromium") or shutil.which("chromium-browser")
    if installed:
        return installed, dict(os.environ)
    root = Path(os.environ.get("TEST_SERVERS") or _HERE / ".venv/servers").absolute() / "chromium/root"
    program = root / "usr/lib/chromium/chromium"
    if not program.exists():
        raise NoChromiumError(ADVICE)
    libraries = [
        *root.glob("usr/lib/*-linux-gnu"),
        *root.glob("lib/*-linux-gnu"),
        *root.glob("usr/lib/*-linux-gnu/pulseaudio"),
    ]
    return str(program), dict(os.environ) | {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "FONTCONFIG_FILE": str(_fonts(root)),
    }


def _fonts(root: Path) -> Path:
    """Write where fonts are: unpacked ones, and those of the machine."""
    path = root.parent / "fonts.conf"
    if not path.exists():
        path.write_text(f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{root.parent}/fontcache</cachedir>
<alias><family>system-ui</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
<alias><family>sans-serif</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
<alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
""")
    return path
