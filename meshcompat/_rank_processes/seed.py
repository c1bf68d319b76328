"""The process that ranks are forked from: its loop, and the handle that callers hold.

The seed imports torch once, stays single-threaded, and forks ranks on request, so that a new
world costs milliseconds and no fork ever happens in the caller's process, which has threads.
It ends when the caller does, since its connection ends then; and the ranks end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_PRELOADED = ("torch", "torch.distributed", "torch.distributed.device_mesh")

# One thread per rank: ranks share few cores, and the libraries that start their threads on
# import (OpenBLAS does) would make the seed unsafe to fork.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_PR_SET_PDEATHSIG = 1

_START = """
import sys
sys.path[:] = {path!r}
from meshcompat._rank_processes.seed import seed_main
seed_main({handle})
"""


class Seed:
    """The caller's handle on the seed process; one can serve many worlds."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the process; it imports torch while the caller goes on.

        Args:
            environment: Variables that the process and its ranks have beside the caller's.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        self._asking = threading.Lock()
        self._asked = 0
        ours, theirs = socket.socketpair()
        with theirs:
            command = _START.format(path=sys.path, handle=theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603  (this interpreter, our own text)
                [sys.executable, "-c", command],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ENVIRONMENT, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                # Ctrl-C reaches a whole session; what becomes of the ranks is the caller's choice.
                start_new_session=True,
            )
        self._socket = ours
        self._connection = Connection(os.dup(ours.fileno()))

    def preload(self, modules: Sequence[str]) -> None:
        """Have modules imported, once for all ranks that are forked afterwards."""
        self._ask("preload", list(modules))

    def fork(
        self, target: str, tasks: Sequence[object], folder: str
    ) -> tuple[list[int], list[Connection[Any, Any]]]:
        """Fork one rank per task; return their process ids and connections, in that order.

        Args:
            target: What a rank runs, as ``module:function``; it is called with the task and
                the rank's end of the connection.
            tasks: One for each rank, picklable.
            folder: Where the ranks write; the seed removes it when the caller is gone.
        """
        pairs = [socket.socketpair() for _ in tasks]
        try:
            with self._asking:
                self._send("fork", target, list(tasks), folder)
                # A message takes 253 descriptors at most.
                for start in range(0, len(pairs), 200):
                    handles = [theirs.fileno() for _, theirs in pairs[start : start + 200]]
                    socket.send_fds(self._socket, [b"."], handles)
                pids = self._answer()
        except BaseException:
            for ours, _ in pairs:
                ours.close()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        return pids, [Connection(ours.detach()) for ours, _ in pairs]

    def send_signal(self, pids: Collection[int], signum: int) -> None:
        """Send a signal to ranks; those that have ended are passed over."""
        self._ask("send_signal", list(pids), signum)

    def reap(self, pids: Collection[int], seconds: float) -> dict[int, int]:
        """Return the exit status of the ranks that have ended *seconds* from here at latest."""
        codes: dict[int, int] = self._ask("reap", list(pids), seconds)
        return codes

    def is_running(self) -> bool:
        """Return whether the process is there to be asked."""
        return self._process.poll() is None

    def stop(self, patience: float = 5.0) -> None:
        """End the process, and with it every rank that it has forked and that still runs.

        Args:
            patience: Seconds that it gets; it may be in the middle of importing torch.
        """
        # A thread may wait for an answer: it hears of the end before the connection is closed.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._asking:
            self._connection.close()
            self._socket.close()
            self._log.close()

    def _ask(self, request: str, *values: object) -> Any:
        with self._asking:
            self._send(request, *values)
            return self._answer()

    def _send(self, request: str, *values: object) -> None:
        self._asked += 1
        try:
            self._connection.send((self._asked, request, *values))
        except OSError as error:
            raise self._lost() from error

    def _answer(self) -> Any:
        try:
            number, succeeded, answer = self._connection.recv()
            # Ctrl-C may have kept the caller from hearing what it had asked before.
            while number != self._asked:
                number, succeeded, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if not succeeded:
            raise RuntimeError(f"the process that ranks are forked from reports:\n{answer}")
        return answer

    def _lost(self) -> RuntimeError:
        text = ""
        if not self._log.closed:
            self._log.seek(0)
            text = self._log.read().decode(errors="replace").strip()
        return RuntimeError(
            f"the process that ranks are forked from has ended; it printed:\n{text or '(nothing)'}"
        )


class _Nursery:
    """The seed's side: each method answers the request of the same name."""

    def __init__(self, control: socket.socket, connection: Connection[Any, Any]) -> None:
        self._control = control
        self._connection = connection
        self._children: set[int] = set()
        self._folders: set[str] = set()

    def preload(self, names: Sequence[str]) -> None:
        for name in names:
            importlib.import_module(name)

    def fork(self, target: str, tasks: Sequence[object], folder: str) -> list[int]:
        handles: list[int] = []
        while len(handles) < len(tasks):
            handles += socket.recv_fds(self._control, 1, len(tasks))[1]
        module, _, name = target.partition(":")
        main = getattr(importlib.import_module(module), name)
        # Ranks then neither copy nor search what the imports have left.
        gc.collect()
        gc.freeze()
        self._folders.add(folder)
        pids = []
        for task, handle in zip(tasks, handles, strict=True):
            seed = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._be_rank(main, task, handle, handles, seed)
            pids.append(pid)
        for handle in handles:
            os.close(handle)
        self._children.update(pids)
        return pids

    def send_signal(self, pids: Sequence[int], signum: int) -> None:
        # A child that nobody has waited for keeps its id, so that no stranger can be hit.
        for pid in self._children.intersection(pids):
            os.kill(pid, signum)

    def reap(self, pids: Sequence[int], seconds: float) -> dict[int, int]:
        deadline = time.monotonic() + seconds
        codes: dict[int, int] = {}
        while True:
            for pid in self._children.intersection(pids):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = os.waitstatus_to_exitcode(status)
                    self._children.remove(pid)
            if self._children.isdisjoint(pids) or time.monotonic() > deadline:
                return codes
            time.sleep(0.002)

    def end(self) -> NoReturn:
        """End, and with this process its ranks; a caller that was killed has not tidied up."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    def _be_rank(
        self, main: Any, task: object, own: int, handles: Sequence[int], seed: int
    ) -> NoReturn:
        code = 1
        # Whatever happens, a rank must never come back into the seed's loop.
        try:
            _end_with(seed)
            self._connection.close()
            self._control.close()
            # The caller learns of a rank's end only if nobody else holds that rank's socket.
            for handle in set(handles) - {own}:
                os.close(handle)
            main(task, Connection(own))
            code = 0
        except BaseException:  # noqa: BLE001  (told in the rank's log, which the caller reads)
            traceback.print_exc()
        finally:
            os._exit(code)


def seed_main(handle: int) -> NoReturn:
    """Answer requests that come over the socket *handle* until the caller has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=handle)
    connection: Connection[Any, Any] = Connection(os.dup(handle))
    nursery = _Nursery(control, connection)
    nursery.preload(_PRELOADED)
    while True:
        try:
            number, request, *values = connection.recv()
        except (EOFError, OSError):
            nursery.end()
        try:
            answer = (number, True, getattr(nursery, request)(*values))
        except Exception:  # noqa: BLE001  (told to the caller)
            answer = (number, False, traceback.format_exc())
        # The caller may have gone while it waited for the answer.
        with contextlib.suppress(OSError):
            connection.send(answer)


def _end_with(parent: int) -> None:
    """Have this process ended when its parent ends."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except AttributeError:
        # No prctl outside Linux.
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
