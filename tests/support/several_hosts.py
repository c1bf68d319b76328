"""Hosts on one machine: network namespaces with own addresses, joined by a bridge.

All of them live in a network, a mount and a process namespace of their own, whose first process is
a `cat` that reads from the test. When the test ends, however it does, `cat` ends, and the kernel
ends what runs in there and removes its networks: nothing can be left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NETWORK = "10.77.0"
TOOLS = ("ip", "unshare", "nsenter", "mount")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class NoHostsError(Exception):
    """This machine does not let us make networks; the text says why."""


def address(host):
    return f"{NETWORK}.{host + 1}"


class Hosts:
    """Hosts 0 to *count* - 1, each with a cable that can be unplugged."""

    def __init__(self, count):
        lacking = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
        if lacking or sys.platform != "linux":
            raise NoHostsError(f"needs Linux with {', '.join(TOOLS)}; not found: {lacking}")
        self.count = count
        self.jobs = []
        # Who is not root can be it in there, where the machine allows that.
        as_root: list[str] = []
        as_it: list[str] = []
        if os.geteuid() != 0:
            as_root, as_it = ["--user", "--map-root-user"], ["--user", "--preserve-credentials"]
        command = ["unshare", *as_root, "--net", "--mount", "--pid", "--fork", "--kill-child"]
        self._keeper = subprocess.Popen(
            [*command, "cat"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
        )
        try:
            self.first = self._wait_for_first()
            self.enter = ["nsenter", "--target", str(self.first), *as_it]
            self.enter += ["--net", "--mount", "--pid", "--"]
            self._lay_cables()
        except BaseException:
            self.close()
            raise

    def _wait_for_first(self):
        """Return the id of the first process in there, when it is there."""
        children = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._keeper.poll() is None:
            with contextlib.suppress(OSError):
                if born := children.read_text().split():
                    return int(born[0])
            time.sleep(0.02)
        self._keeper.kill()
        _, error = self._keeper.communicate()
        raise NoHostsError(f"unshare makes no network namespace here: {error.decode().strip()}")

    def _lay_cables(self):
        self._do("mount", "-t", "proc", "proc", "/proc")
        self._do("mount", "-t", "tmpfs", "tmpfs", "/run")  # where `ip netns` keeps its names
        self._do("ip", "link", "add", "bridge", "type", "bridge")
        self._do("ip", "link", "set", "bridge", "up")
        for host in range(self.count):
            name, port = f"host{host}", f"port{host}"
            self._do("ip", "netns", "add", name)
            self._do("ip", "link", "add", port, "type", "veth", "peer", "name", f"eth{host}")
            self._do("ip", "link", "set", f"eth{host}", "netns", name, "name", "eth0")
            self._do("ip", "link", "set", port, "master", "bridge", "up")
            self._do("ip", "-n", name, "link", "set", "lo", "up")
            self._do("ip", "-n", name, "addr", "add", f"{address(host)}/24", "dev", "eth0")
            self._do("ip", "-n", name, "link", "set", "eth0", "up")

    def _do(self, *command):
        done = subprocess.run(
            [*self.enter, *command],
            capture_output=True,
            text=True,
            env=_environment(),
            check=False,
        )
        if done.returncode:
            raise NoHostsError(f"{' '.join(command)}: {done.stderr.strip()}")

    def unplug(self, host):
        self._do("ip", "link", "set", f"port{host}", "down")

    def plug_in(self, host):
        self._do("ip", "link", "set", f"port{host}", "up")

    def start(self, *arguments, ranks_each=2, port=29400):
        """Start torchrun on every host; the files out<host> and err<host> are what it prints."""
        job = []
        for host in range(self.count):
            command = [*self.enter, "ip", "netns", "exec", f"host{host}", sys.executable]
            command += ["-m", "torch.distributed.run", "--nnodes", str(self.count)]
            command += ["--node-rank", str(host), "--nproc-per-node", str(ranks_each)]
            command += ["--master-addr", address(0), "--master-port", str(port)]
            command += ["--local-addr", address(host), *arguments]
            job.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=_environment(),
                )
            )
        self.jobs += job
        return job

    def processes(self):
        """Return the ids, in there, of all processes but the first."""
        listed = subprocess.run(
            [*self.enter, "ls", "/proc"],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )
        return [int(name) for name in listed.stdout.split() if name.isdigit() and name != "1"]

    def close(self):
        """End everything in there."""
        self._keeper.kill()
        self._keeper.communicate()
        for process in self.jobs:
            process.kill()
            process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _environment():
    here = Path(__file__).parents[2]
    return {
        **os.environ,
        "PATH": PATH,
        "GLOO_SOCKET_IFNAME": "eth0",
        "TP_SOCKET_IFNAME": "eth0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(here), *filter(None, sys.path)]),
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
