"""Everything at once: a Redis, a migrated database, a secret key, and whatever a test starts beside them."""

import base64
import contextlib
import json
import os
import re
import secrets
import time
from pathlib import Path

import psycopg2
import psycopg2.extras

from .daemons import Longshore, Scheduler, Worker
from .process import BIN, ROOT, SLOWER, wait_until
from .redis_server import Redis
from .sandbox import Sandbox


class Cluster:
    def __init__(self, folder, postgres, database):
        self.folder = Path(folder)
        self.postgres = postgres
        self.database = database
        self.processes = []
        self.counts = {}
        self.redis = self.add(Redis(self._folder("redis"), aof=True))
        self.drivers = str(ROOT / "drivers")
        self.key_file = self.folder / "secret.key"
        self.key_file.write_text("test " + base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        self.key_file.chmod(0o600)
        self.longshore = Longshore(self.folder, self.env())
        self.company_id = None
        self._connection = None

    def _folder(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def add(self, process):
        self.processes.append(process)
        return process

    def env(self):
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LANG") or k.endswith("SAN_OPTIONS")}
        return {**keep, "LONGSHORE_REDIS_URL": self.redis.url, "LONGSHORE_DATABASE_URL": self.postgres.url(self.database),
                "LONGSHORE_DRIVERS": self.drivers, "LONGSHORE_SECRET_KEY_FILE": str(self.key_file)}

    def add_drivers(self, folder):
        """Another folder of manifests, before ours."""
        self.drivers = f"{folder}:{self.drivers}"
        self.longshore.env = self.env()

    # ---- processes ----

    def _name(self, kind):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}{self.counts[kind]}"

    def make_worker(self, **flags):
        return self.add(Worker(self._folder("worker"), self.env(), self._name("worker"), **flags))

    def worker(self, **flags):
        return self.make_worker(**flags).start()

    def crash_worker(self, **flags):
        """A worker that knows the tasks of crash_tasks.c as well."""
        program = BIN.parent / "test" / "crash-worker"
        assert program.exists(), f"make {program} (make system does)"
        env = self.env()
        # The sanitizers would turn these signals into reports and exit codes of their own.
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":handle_segv=0:handle_abort=0"
        worker = Worker(self._folder("worker"), env, self._name("worker"), **flags)
        worker.argv[0] = str(program)
        return self.add(worker).start()

    def make_scheduler(self, **flags):
        return self.add(Scheduler(self._folder("scheduler"), self.env(), self._name("scheduler"), **flags))

    def scheduler(self, **flags):
        """Ready.  It starts no imports by itself unless import_every says so."""
        flags.setdefault("import_every", "0")
        return self.make_scheduler(**flags).start().wait_ready(20 * SLOWER)

    def sandbox(self, **flags):
        return self.add(Sandbox(self._folder("sandbox"), self.env(), self._name("sandbox"), **flags)).start()

    # ---- things in the database ----

    def company(self, name="Harbour Homes"):
        """As `longshore company add` does."""
        return self.one("INSERT INTO companies (name) VALUES (%s) RETURNING id", name)

    def integration(self, sandbox, account="acct-1", partner="guesty", company=None, base="/v1", **settings):
        """Adds an integration with a partner that `sandbox` (an object with a url) plays; its id."""
        if company is None:
            self.company_id = company = self.company_id or self.company()
        number = account.split("-")[1]
        words = ["integration", "add", "--company", company, "--partner", partner, "--base-url", sandbox.url + base]
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        credentials = json.dumps({"client_id": account, "client_secret": f"secret-{number}"})
        return int(self.longshore.quickly(*words, "--credentials", "-", input=credentials).out.split()[-1])

    def sql(self, query, *values):
        """Rows as dicts.  Over one connection, for tests ask again and again; a new one where Postgres has ended it."""
        for last in (False, True):
            if not self._connection:
                self._connection = self.postgres.connect(self.database)
            try:
                with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                    cursor.execute(query, values or None)
                    return [dict(row) for row in cursor.fetchall()] if cursor.description else []
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not self._connection.closed or last:
                    raise
                self._connection = None
        return None

    def one(self, query, *values):
        """The single value of the single row."""
        (row,) = self.sql(query, *values)
        (value,) = row.values()
        return value

    # ---- work ----

    def push(self, job, queue="queue:{guesty}"):
        """Exactly as redis-cli would: one LPUSH of a dict, or of raw bytes."""
        payload = job if isinstance(job, (bytes, str)) else json.dumps(job)
        self.redis.client.lpush(queue, payload)

    def status(self):
        return self.longshore.quickly("status", "--json").json()

    def queue(self, name="guesty"):
        """A queue's row of `longshore status`; all zero while nobody has seen it."""
        for row in self.status()["queues"]:
            if row["queue"] == name:
                return row
        return {"queue": name, "ready": 0, "delayed": 0, "held": 0, "in_flight": 0, "dead": 0, "oldest_age_s": 0}

    def busy(self, partners=("guesty", "longshore")):
        """What is not done yet, straight from Redis: cheap enough to poll.  In one transaction, or a job that moves is missed."""
        with self.redis.client.pipeline(transaction=True) as pipe:
            for p in partners:
                for lane in (":high", "", ":low"):
                    pipe.llen(f"queue:{{{p}}}{lane}")
                for number, lane in enumerate(("high", "normal", "low"), 1):
                    pipe.zcard(f"ready:{{{p}}}:{lane}")
                    pipe.hget(f"packed:{{{p}}}", number)
                pipe.hlen(f"flight:{{{p}}}")
                pipe.zcard(f"delayed:{{{p}}}")
                pipe.llen(f"outbox:{{{p}}}")
            return sum(int(n or 0) for n in pipe.execute())

    def wait_idle(self, timeout=40, partners=("guesty", "longshore")):
        """Until nothing is queued, delayed or in flight."""
        late = time.monotonic() + 3

        def is_idle():
            busy = self.busy(partners)
            # What had to wait (a permit was far away, say) is promoted by schedulers: a test without one gets it for that.  Not for
            # what has failed: where nobody expects that, it is to be seen.
            if busy and time.monotonic() > late and self._only_put_off(partners) and not any(
                    isinstance(p, Scheduler) and p.is_running() for p in self.processes):
                self.scheduler()
            return busy == 0

        wait_until(is_idle, min(timeout * SLOWER, 54), lambda: "an empty queue: " + self.describe(), 0.05)

    def _only_put_off(self, partners):
        """Something is delayed, and none of it used up a retry."""
        delayed = [m for p in partners for m in self.redis.client.zrange(f"delayed:{{{p}}}", 0, -1)]
        return delayed and all(re.match(rb"D[123] \d{15} \d+ \S+ 0 0 ", m) for m in delayed)

    def describe(self):
        lines = [f"busy={self.busy()}"]
        for process in self.processes:
            if isinstance(process, (Worker, Scheduler)):
                lines.append(f"--- {process.name} ends:\n{process.log_tail(15)}")
        return "\n".join(lines)

    def dead(self):
        """Dead letters as Redis has them, oldest first, of guesty."""
        return [json.loads(m) for m in self.redis.client.zrange("dead:{guesty}", 0, -1)]

    # ---- end ----

    def close(self):
        """Stops everything, newest first, and returns what was wrong."""
        problems = []
        if self._connection:
            self._connection.close()
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                process.stop()
            problems += process.check()
        return problems + self.longshore.check()
