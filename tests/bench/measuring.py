"""What the figures are made with: servers of one run, processor time, rounds and medians.  Nothing is measured here.

The harness of tests/system must be importable, and LONGSHORE_BIN set, before this is imported.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from harness import Longshore, Postgres, Redis, Sandbox, Worker, wait_until

ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    pass


# ---- processor time ------------------------------------------------------------------------------

def cpu_us(pid):
    """What a process's threads have used so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1000


def children_cpu_us(pid):
    """That of its children, where they live on meanwhile (Postgres' sessions)."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(cpu_us(p) for p in pids if Path(f"/proc/{p}").exists())


def status_kib(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise Failed(f"no {field} for {pid}")


def peak_kib(pid):
    return status_kib(pid, "VmHWM")


def resident_kib(pid):
    return status_kib(pid, "VmRSS")


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# ---- the servers ---------------------------------------------------------------------------------

class Servers:
    def __init__(self, folder, build, aof):
        self.folder = folder
        self.programs = (build / "bench").resolve()
        self.started = []
        self.redis = self.memory = self.start_redis("redis", aof)
        self.aof = None
        self.postgres = Postgres(self.sub("postgres"))
        # The harness trades safety for speed; here Postgres is as it comes, with room to work in.
        self.postgres.argv += ["-c", "fsync=on", "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB"]
        self.add(self.postgres)
        self.database = self.postgres.url(self.postgres.create_database())
        self.longshore = Longshore(folder, self.env())
        self.longshore("migrate")
        self.sandbox = self.add(Sandbox(self.sub("sandbox"), self.env(), latency="100ms", bench_listen="127.0.0.1:0"))

    def start_redis(self, name, aof):
        synced = ("--appendfsync", "everysec") if aof else ()
        return self.add(Redis(self.sub(name), aof=aof, name=name, options=synced))

    @contextmanager
    def appending(self):
        """Meanwhile Redis is another one, with an append-only file."""
        if not self.aof:
            self.aof = self.start_redis("redis-aof", True)
        self.redis = self.aof
        try:
            yield
        finally:
            self.redis = self.memory

    def sub(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder

    def add(self, process):
        self.started.append(process)
        return process.start()

    def env(self):
        return {"PATH": os.environ["PATH"], "LONGSHORE_REDIS_URL": self.redis.url,
                "LONGSHORE_DATABASE_URL": self.database, "LONGSHORE_DRIVERS": str(ROOT / "tests/bench/drivers")}

    def sql(self, text):
        with self.postgres.connect(self.database.rsplit("/", 1)[1]) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            rows = cursor.fetchall() if cursor.description else None
        connection.close()
        return rows

    def redis_cpu_us(self):
        cpu = self.redis.client.info("cpu")
        return (cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1e6

    def flush(self):
        self.redis.client.flushall()

    def program(self, name, *words):
        """One of the bench programs: the object it prints."""
        done = subprocess.run([str(self.programs / name), *map(str, words)], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failed(f"{name} {words[0]}: {done.stderr.strip() or done.returncode}")
        return json.loads(done.stdout)

    def close(self):
        problems = []
        for process in reversed(self.started):
            process.stop()
            problems += process.check()
        return problems


# ---- one drain of a full queue by one worker process -----------------------------------------------

class Drain:
    """Starts a worker on a queue that holds n jobs, watches it until nothing is left."""

    def __init__(self, servers, partner, n, concurrency):
        self.s, self.partner, self.n = servers, partner, n
        self.worker = Worker(servers.folder, servers.env(), "worker", concurrency=concurrency, partners=partner,
                             log_level="warn")
        self.result = None

    def look(self):
        """Jobs in the public lane, ready, in flight."""
        with self.s.redis.client.pipeline(transaction=False) as p:
            p.llen(f"queue:{{{self.partner}}}")
            p.zcard(f"ready:{{{self.partner}}}:normal")
            p.hlen(f"flight:{{{self.partner}}}")
            return p.execute()

    def used(self, pid):
        return {"worker": cpu_us(pid), "redis": self.s.redis_cpu_us(), "sandbox": cpu_us(self.s.sandbox.pid),
                "postgres": children_cpu_us(self.s.postgres.pid)}

    def watch(self):
        (pid,) = wait_until(self.worker.children, 10, "the worker's process")
        wait_until(lambda: self.look()[0] < self.n, 20, "the first job", every=0.002)
        began, before, flying = time.perf_counter(), self.used(pid), []
        while True:
            queued, ready, flight = self.look()
            if not queued + ready + flight:
                break
            if ready and flight:
                flying.append(flight)
            if time.perf_counter() - began > 120:
                raise Failed(f"{queued + ready + flight} jobs left after 120 s:\n{self.worker.log_tail()}")
            time.sleep(0.02)
        seconds, after = time.perf_counter() - began, self.used(pid)
        self.result = {"jobs_per_s": self.n / seconds, "peak_kib": peak_kib(pid),
                       "in_flight": statistics.mean(flying) if flying else 0,
                       **{f"{k}_us": (after[k] - before[k]) / self.n for k in after}}

    def run(self):
        self.worker.start()
        try:
            self.watch()
        finally:
            self.worker.stop()
        problems = self.worker.check()
        held = self.s.redis.client.zcard(f"delayed:{{{self.partner}}}")
        if held:
            problems.append(f"{held} of {self.n} jobs were put off: they are missing in what was measured")
        dead = self.s.redis.client.zcard(f"dead:{{{self.partner}}}")
        if dead:
            letter = self.s.redis.client.zrange(f"dead:{{{self.partner}}}", 0, 0)[0].decode(errors="replace")
            problems.append(f"{dead} dead letters, such as {letter[:500]}")
        if problems:
            raise Failed("\n".join(problems))
        return self.result


# ---- figures -------------------------------------------------------------------------------------
class Figures:
    def __init__(self, n_rounds):
        self.n_rounds = n_rounds
        self.rounds = {}
        self.rows = []

    def measure(self, name, fn, rounds=0):
        """Rounds of fn, which returns a dict of numbers; the medians."""
        taken, rounds = [], rounds or self.n_rounds
        for i in range(rounds):
            print(f"  {name}, round {i + 1} of {rounds}", file=sys.stderr)
            taken.append(fn())
        self.rounds[name] = taken
        return {k: statistics.median(r[k] for r in taken) for k in taken[0]}

    def row(self, what, value, limit="", ratio=None, note=""):
        self.rows.append((what, value, limit, "" if ratio is None else f"{ratio:.2f}", note))

    def print(self):
        heads = ("figure", "measured", "limit beneath", "ratio", "beside")
        widths = [max(len(r[i]) for r in [heads, *self.rows]) for i in range(5)]
        rule = tuple("-" * w for w in widths)
        for r in [heads, rule, *self.rows]:
            print("| " + " | ".join(c.ljust(w) for c, w in zip(r, widths)) + " |")


def per_s(n):
    return f"{n:,.0f}/s"
