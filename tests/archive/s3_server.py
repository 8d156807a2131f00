"""A real S3 with Object Lock: Ceph's gateway over one monitor and one store in memory, on loopback.

A stand-in proves nothing of write-once storage: it lets a COMPLIANCE lock be shortened. This one refuses.
"""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors.archive.bucket import BucketSettings
from tests.archive.programs import Programs, free_port, wait_for

ACCESS_KEY, SECRET_KEY = "archive-test", "archive-test-secret"
OTHER_KEY, OTHER_SECRET = "stranger", "stranger-secret"
#: One that locks objects, for all tests: making one takes longer than most of them.
BUCKET = "archive"

_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_old}]
keyring = {folder}/keys
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 2
osd pool default pgp num = 2
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon cluster log file =
mon data avail warn = 1
mon data avail crit = 0
ms bind ipv6 = false
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
run dir = {folder}
admin socket = {folder}/$name.sock
pid file =
log file = {folder}/$name.log
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
plugin dir = {libraries}/ceph
[mon]
mon data = {folder}/monitor
[osd]
osd data = {folder}/store
keyring = {folder}/keys
osd objectstore = memstore
memstore device bytes = 2147483648
[client]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}
rgw enable usage log = false
rgw gc max objs = 1
rgw run sync thread = false
rgw enable ops log = false
"""


class S3Server:
    """A server of this test run; `start`, and `stop` at the end."""

    def __init__(self, folder: Path) -> None:
        # Socket names are short: not below pytest's long folders.
        self._folder, self._programs = folder, Programs()
        self._started: list[subprocess.Popen[bytes]] = []
        self.port, monitor, monitor_old = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._monitor = f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_old}]"
        self._fsid = str(uuid.uuid4())
        configuration = folder / "ceph.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                fsid=self._fsid,
                folder=folder,
                port=self.port,
                monitor=monitor,
                monitor_old=monitor_old,
                libraries=self._programs.libraries,
            )
        )
        self._environment = self._programs.environment | {"CEPH_CONF": str(configuration)}

    def start(self) -> None:
        map_, keys = self._folder / "monmap", self._folder / "keys"
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", self._monitor, map_)
        # All parts know each other from the start, so that no key has to be asked for.
        for number, part in enumerate(("mon.", "client.admin", "client.gateway", "osd.0")):
            create = () if number else ("--create-keyring",)
            may = [word for about in ("mon", "osd", "mgr") for word in ("--cap", about, "allow *")]
            self._run("ceph-authtool", *create, keys, "--gen-key", "-n", part, *may)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", map_, "--keyring", keys)
        self._spawn("ceph-mon", "-i", "a", "-f")
        store = str(uuid.uuid4())
        self._command("osd", "new", store)
        (self._folder / "store").mkdir()
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        self._spawn("ceph-osd", "-i", "0", "-f")
        gateway = self._spawn("radosgw", "-n", "client.gateway", "-f")
        for key, secret in ((ACCESS_KEY, SECRET_KEY), (OTHER_KEY, OTHER_SECRET)):
            self._run("radosgw-admin", "user", "create", f"--uid={key}", f"--display-name={key}",
                      f"--access-key={key}", f"--secret-key={secret}")  # fmt: skip
        wait_for(self.port, gateway)
        client = client_of(self.url)
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        client.close()

    def stop(self) -> None:
        for process in reversed(self._started):
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Let the gateway answer nothing more, its sockets open: the outage that takes longest to notice."""
        self._started[-1].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started[-1].send_signal(signal.SIGCONT)

    def _command(self, *words: str) -> None:
        """Give the cluster a command, as soon as its monitor answers."""
        script = self._programs.find("ceph")
        until = time.monotonic() + 60
        while True:
            told = subprocess.run(
                ["/usr/bin/python3", script, "--connect-timeout", "5", *words],
                env=self._environment, capture_output=True, timeout=60, check=False,
            )  # fmt: skip
            if told.returncode == 0:
                return
            assert time.monotonic() < until, told.stderr.decode()
            time.sleep(0.2)

    def _run(self, program: str, *arguments: object) -> None:
        command: Sequence[str] = [self._programs.find(program), *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, capture_output=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        output = os.open(self._folder / f"{program}.out", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            self._started.append(
                subprocess.Popen(
                    [self._programs.find(program), *arguments], env=self._environment, stdout=output, stderr=output
                )
            )
        finally:
            os.close(output)
        return self._started[-1]


class S3World:
    """A place in a bucket, and what Amazon's own client says of it."""

    def __init__(self, server: S3Server, prefix: str) -> None:
        self.server, self.bucket, self._prefix = server, BUCKET, prefix
        self.client = client_of(server.url)

    @property
    def settings(self) -> BucketSettings:
        return BucketSettings(
            bucket=self.bucket, prefix=self._prefix, endpoint_url=self.server.url, access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY, connect_timeout=2, read_timeout=10,
        )  # fmt: skip

    @property
    def keys(self) -> list[str]:
        """Every key that has a version, without the prefix."""
        found = self.client.list_object_versions(Bucket=self.bucket, Prefix=self.key("")).get("Versions", [])
        return sorted({one["Key"].removeprefix(self.key("")) for one in found})

    @property
    def tags(self) -> list[tuple[str, str]]:
        """Every version's key, without the prefix, and the MD5 of its bytes."""
        found = self.client.list_object_versions(Bucket=self.bucket, Prefix=self.key("")).get("Versions", [])
        return sorted((one["Key"].removeprefix(self.key("")), one["ETag"].strip('"')) for one in found)

    def versions(self, name: str) -> list[str]:
        """Ids of a file's versions, the newest first."""
        found = self.client.list_object_versions(Bucket=self.bucket, Prefix=self.key(name)).get("Versions", [])
        return [one["VersionId"] for one in found]

    def key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def close(self) -> None:
        self.client.close()


def client_of(url: str, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Any:
    import boto3
    from botocore.config import Config

    told = Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=told,
    )
