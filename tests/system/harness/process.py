"""A process under test: started in a session of its own, logged to a file, judged at the end."""

import fcntl
import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("LONGSHORE_BIN", ROOT / "build/release/bin"))

# None of these may ever stand in a log of ours, whatever else a test looks at.
FORBIDDEN = re.compile(
    r"ERROR: AddressSanitizer|AddressSanitizer:DEADLYSIGNAL|ERROR: LeakSanitizer|LeakSanitizer has|"
    r"runtime error:|Assertion .* failed|stack smashing detected|malloc\(\): |free\(\): |double free|"
    r"\[err\] |\[warn\] Epoll"
)
SANITIZED = "san-" in str(BIN)
SLOWER = 3 if SANITIZED else 1  # how much longer things may take under the sanitizers
# What a test waits for comes in the end on any machine, however busy: its limits, those of conftest.py too, are times of a quiet one.
PATIENCE = 4


def wait_until(condition, timeout=20, what=None, every=0.02, patience=PATIENCE):
    """Waits until condition() is true and returns its value; fails saying `what` did not come."""
    timeout *= patience
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            described = what() if callable(what) else what or "the condition"
            raise AssertionError(f"waited {timeout} s for {described}; last value: {value!r}")
        time.sleep(every)


_leases = []  # locked files: a port stays ours until this Python ends


def _ports():
    """Outside of the range from which the kernel takes those of connections, or one is gone between its choice and its use."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return (20000, min(31000, first - 1)) if first > 21000 else (last + 1, 65000) if last < 64000 else (20000, 31000)


def lease_port():
    """A port that no other test session holds, nor a connection."""
    folder = Path("/tmp/longshore-test-ports")
    folder.mkdir(exist_ok=True)
    try:
        folder.chmod(0o777)
    except PermissionError:
        pass  # another user made it
    for _ in range(2000):
        port = random.randint(*_ports())
        try:
            lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                os.close(lock)
                continue
        _leases.append(lock)
        return port
    raise AssertionError("no free port found")


def _lives(pid):
    """Killed, and not yet buried by its parent, is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Process:
    """One program.  `exits` are the exit codes that teardown accepts; kill9 adds its own."""

    def __init__(self, name, argv, folder, env=None, user=None, exits=(0,)):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.folder = Path(folder)
        self.env = env
        self.user = user
        self.exits = set(exits)
        self.process = None
        self.log_file = self.folder / f"{name}.log"
        self.problems = []

    # ---- start and end ----

    def start(self):
        assert not self.is_running(), f"{self.name} runs already"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder,
                env=self.env, start_new_session=True, user=self.user, group=self.user,
                extra_groups=[] if self.user else None)
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def signal_group(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def wait(self, timeout=30):
        timeout *= PATIENCE
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout} s; its log ends:\n{self.log_tail()}")
        self._judge(code)
        return code

    def _judge(self, code):
        if code not in self.exits:
            self.problems.append(f"{self.name} ended with {code}; its log ends:\n{self.log_tail()}")

    def term(self, timeout=40):
        """Stops it as an operator would; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill9(self):
        """The whole group, at once."""
        self.exits.add(-signal.SIGKILL)
        self.signal_group(signal.SIGKILL)
        self.wait(10)

    def pause(self):
        self.signal_group(signal.SIGSTOP)

    def resume(self):
        self.signal_group(signal.SIGCONT)

    def stop(self):
        """Teardown: ends it, by force if need be, and notes what is wrong."""
        if not self.process:
            return
        if self.is_running():
            self.resume()
            self.signal(self.stop_signal())
            try:
                self._judge(self.process.wait(40 * PATIENCE))
            except subprocess.TimeoutExpired:
                self.problems.append(f"{self.name} did not stop within {40 * PATIENCE} s; its log ends:\n{self.log_tail()}")
        self.signal_group(signal.SIGKILL)
        if self.process.poll() is None:
            self.process.wait(10 * PATIENCE)

    def stop_signal(self):
        return signal.SIGTERM

    # ---- family ----

    def children(self):
        """Pids of its direct children that live, oldest first."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [pid for pid in map(int, text.split()) if _lives(pid)]

    # ---- log ----

    def log_text(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines=25):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_contains(self, pattern, since=0):
        return re.search(pattern, self.log_text()[since:]) is not None

    def log_size(self):
        """For `since`: only what is logged from now on counts."""
        return len(self.log_text())

    def wait_for_log(self, pattern, timeout=20, since=0):
        def found():
            if self.log_contains(pattern, since):
                return True
            assert self.is_running(), f"{self.name} ended before it said {pattern!r}:\n{self.log_tail()}"
            return False

        wait_until(found, timeout, lambda: f"{pattern!r} in the log of {self.name}, which ends:\n{self.log_tail()}")

    def check(self):
        """Problems of its whole life, for the teardown: wrong exit codes and what no log may hold."""
        found = [line for line in self.log_text().splitlines() if FORBIDDEN.search(line)]
        problems = list(self.problems)
        if found:
            problems.append(f"{self.name} logged what no program may log:\n" + "\n".join(found[:5]) + "\n…\n" +
                            self.log_tail(80))
        return problems
