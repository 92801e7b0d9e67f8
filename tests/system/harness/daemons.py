"""Longshore's own programs."""

import json
import os
import signal
import subprocess

import requests

from .process import BIN, FORBIDDEN, PATIENCE, SANITIZED, Process, lease_port, wait_until


def _flags(values):
    argv = []
    for key, value in values.items():
        flag = "--" + key.replace("_", "-")
        argv += [flag] if value is True else [flag, str(value)]
    return argv


class Worker(Process):
    """A supervisor and its processes, in one process group."""

    def __init__(self, folder, env, name="worker", **flags):
        super().__init__(name, [BIN / "longshore-worker", *_flags(flags)], folder, env)

    def kill9_child(self, index=0):
        """Kills one process; its supervisor lives on."""
        wait_until(lambda: len(self.children()) > index, 20, lambda: f"a process of {self.name}, whose log ends:\n{self.log_tail()}")
        pid = self.children()[index]
        os.kill(pid, signal.SIGKILL)
        return pid


class Scheduler(Process):
    def __init__(self, folder, env, name="scheduler", **flags):
        self.port = lease_port()
        super().__init__(name, [BIN / "longshore-scheduler", "--listen", f"127.0.0.1:{self.port}", *_flags(flags)],
                         folder, env)

    def get(self, path):
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://127.0.0.1:{self.port}{path}", timeout=10 * PATIENCE)

    def is_ready(self):
        try:
            return self.get("/readyz").status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def wait_ready(self, timeout=20):
        wait_until(self.is_ready, timeout, lambda: f"{self.name} to be ready; its log ends:\n{self.log_tail()}")
        return self


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"{' '.join(self.argv)} -> {self.code}\n{self.out}{self.err}"


class Longshore:
    """The operator's command: runs it to its end, keeps what no output may hold for the teardown."""

    # The search for leaks takes a sanitized command half as long again.  test_cli.py, whose subject is the command, switches it on.
    leaks = False

    def __init__(self, folder, env):
        self.folder, self.env, self.problems = folder, env, []

    def run(self, *words, input=None, env=None, timeout=50, program=None):
        argv = [str(program or BIN / "longshore"), *map(str, words)]
        env = {**self.env, **(env or {})}
        if SANITIZED and not self.leaks:
            env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        done = subprocess.run(argv, input=input, capture_output=True, text=True, errors="replace", timeout=timeout * PATIENCE,
                              cwd=self.folder, env=env)
        if FORBIDDEN.search(done.stdout + done.stderr):
            self.problems.append(f"{' '.join(argv)}:\n{done.stdout}{done.stderr}")
        return Result(argv, done.returncode, done.stdout, done.stderr)

    def start(self, *words, stdin=subprocess.DEVNULL):
        """Under way: a Popen with stdout as text."""
        return subprocess.Popen([str(BIN / "longshore"), *map(str, words)], text=True, cwd=self.folder, env=self.env,
                                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __call__(self, *words, **options):
        """As run, but it must succeed."""
        result = self.run(*words, **options)
        assert result.code == 0, repr(result)
        return result

    def quickly(self, *words, **options):
        """For what nearly every test says, and some look at again and again: under the sanitizers a command costs a tenth of a second
        of processor.  LONGSHORE_QUICK is the release's."""
        return self(*words, program=os.environ.get("LONGSHORE_QUICK"), **options)

    def check(self):
        return list(self.problems)
