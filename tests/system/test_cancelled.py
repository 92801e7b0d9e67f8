"""Q9: what is unwound closes its HTTP, Postgres and Redis waits and leaks nothing.

Jobs run into their hard limit while they wait for a partner that does not answer, for a locked table, for a Redis that is
paused; at the end TERM cancels all that is left.  Then there is no coroutine, no socket and no byte more than after the first
round.  `make cancelled` does it 100,000 times; under the sanitizers whatever is left over is found when the process ends."""

import contextlib
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from harness import wait_until
from harness.process import ROOT, SANITIZED, SLOWER

JOBS = int(os.environ.get("LONGSHORE_CANCELLED") or (2_000 if SANITIZED else 10_000))
AT_ONCE = 2000
ROUND = min(JOBS // 8, 5000)


@pytest.fixture
def stage(cluster, tmp_path):
    """A partner without limits, one account that never answers, one that does, and a worker with little patience."""
    folder = tmp_path / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["limits"] = [{"scope": "integration", "rate": 100000, "window": "100ms"}]
    manifest.pop("limit_headers")
    manifest["api"]["concurrency"] = {"partner": 10000, "integration": 10000}
    manifest["jobs"] = {"in_flight": {"partner": 10000, "integration": 10000}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)
    return Stage(cluster)


class Stage:
    def __init__(self, cluster):
        self.cluster, self.redis = cluster, cluster.redis.client
        self.redis.config_set("appendonly", "no")
        self.sandbox = cluster.sandbox(listings=AT_ONCE, clean=True, limits="none", in_flight=100000)
        self.silent, self.open = (cluster.integration(self.sandbox, a) for a in ("acct-1", "acct-2"))
        self.items = {i: [x["id"] for x in self.sandbox.items("listing", a)]
                      for i, a in ((self.silent, "acct-1"), (self.open, "acct-2"))}
        self.worker = cluster.worker(soft_limit="100ms", hard_limit="200ms", concurrency=AT_ONCE, grace="0s", log_level="warn")
        self.wait(self.is_warm)
        self.wait(lambda: self.redis.hlen("flight:{guesty}") == 0)
        self.redis.delete("delayed:{guesty}")
        self.sandbox.fault(match="/v1/listings/", account=1, delay_ms=600_000)
        (self.pid,) = self.worker.children()
        self.cancelled = 0

    def wait(self, condition, timeout=30):
        wait_until(condition, timeout * SLOWER, self.cluster.describe)

    def is_warm(self):
        """Tokens, connections, caches; the first job may be out of time before it has all that."""
        if self.cluster.one("SELECT count(*) FROM resources") == 2:
            return True
        if self.redis.hlen("flight:{guesty}") == 0 and self.redis.llen("queue:{guesty}") == 0:
            self.redis.delete("delayed:{guesty}")
            for integration in self.items:
                self.push(integration, 1)
        return False

    def push(self, integration, n):
        """Of different items: rows of one item that meet in a batch need not wait for it."""
        jobs = [json.dumps({"task": "import_resource", "integration_id": integration, "args": {"external_id": self.items[integration][k % AT_ONCE]}})
                for k in range(n)]
        for at in range(0, n, 1000):
            self.redis.lpush("queue:{guesty}", *jobs[at:at + 1000])

    def unwound(self):
        """They have ended at their limit, and wait for their retry."""
        def is_over():
            with self.redis.pipeline() as pipe:
                pipe.llen("queue:{guesty}").zcard("ready:{guesty}:normal").hlen("flight:{guesty}")
                return sum(pipe.execute()) == 0
        self.wait(is_over)
        assert self.cluster.dead() == []
        self.cancelled += self.redis.zcard("delayed:{guesty}")
        self.redis.delete("delayed:{guesty}")

    # ---- what they wait for ----

    def http(self, n):
        self.push(self.silent, n)
        self.unwound()

    def postgres(self, n):
        with contextlib.closing(self.cluster.postgres.connect(self.cluster.database)) as other:
            other.autocommit = False
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
                self.push(self.open, n)
                self.unwound()

    def pausing(self, n):
        """Those that were claimed when the pause began wait for Redis itself."""
        self.push(self.silent, n)
        while self.redis.zcard("delayed:{guesty}") < n:
            self.redis.execute_command("CLIENT", "PAUSE", 300)
            time.sleep(0.02)  # answered while it lasts; the next command waits for its end
        self.unwound()

    # ---- what is left ----

    def coroutines(self):
        since = self.worker.log_size()
        os.kill(self.pid, signal.SIGUSR1)
        self.worker.wait_for_log("event=coroutines ", 10 * SLOWER, since)
        return re.findall(r"event=coroutine name=(\S+)", self.worker.log_text()[since:])

    def sockets(self):
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def rss_mb(self):
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.timeout(600)
def test_what_is_unwound_leaves_nothing(stage):
    idle, sockets = sorted(stage.coroutines()), stage.sockets()
    assert "job" not in idle
    rss, began = [], time.monotonic()
    while stage.cancelled < JOBS:
        for wait in (stage.http, stage.postgres, stage.http, stage.pausing):
            wait(ROUND)
        rss.append(stage.rss_mb())
    print(f"{stage.cancelled} unwound in {time.monotonic() - began:.1f} s; resident MB {[round(r, 1) for r in rss]}")
    stage.wait(lambda: sorted(stage.coroutines()) == idle)
    assert stage.sockets() <= sockets + 500, "what is open is kept for the next calls: a pool has at most so many"
    if not SANITIZED:  # they keep what is freed, for a while
        assert rss[-1] < rss[0] * 1.1 + 4, f"it grows: {rss} MB"

    # And cancelled in the midst of it by TERM: all go back as they came, and (sanitizers) nothing is left in memory.
    stage.push(stage.silent, AT_ONCE)
    stage.wait(lambda: stage.redis.hlen("flight:{guesty}") > 500)
    assert stage.worker.term() == 0
    assert stage.redis.hlen("flight:{guesty}") == 0
    assert stage.cluster.busy() == AT_ONCE and stage.cluster.dead() == []
