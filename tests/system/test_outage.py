"""Redis away for longer than a heartbeat lives: no worker has died of it, so no job may be given to another."""

import json
import re
import shutil
import time
from collections import Counter

import pytest

from harness import wait_until
from harness.process import ROOT, SLOWER
from harness.proxy import Proxy
from torture import job_ends

CALLS = 10       # under way when Redis goes: as many as an integration may have
OUTAGE_S = 12    # a heartbeat lives 8 s
CALL_MS = 8000   # then the partner stands still: they outlast it, so that there is something to take away wrongly when Redis is back


@pytest.fixture
def patient(cluster):
    """Guesty with a longer patience for slow answers; (sandbox, integration), its token fetched already."""
    folder = cluster.folder / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["api"]["timeout"] = {"connect": "5s", "read": "200s", "total": "220s"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)
    sandbox = cluster.sandbox(listings=CALLS + 1, clean=True, limits="none")
    return sandbox, cluster.integration(sandbox)


@pytest.fixture
def wire(cluster):
    """Between the programs and Redis; the test's own connection goes beside it."""
    wire = Proxy(cluster.redis.port).mend()
    cluster.redis.url = f"redis://127.0.0.1:{wire.port}/0"
    cluster.longshore.env = cluster.env()
    yield wire
    wire.cut()


def freeze(redis, wire):
    """Connections stay open, nothing answers; it comes back with the run_id that it had."""
    redis.pause()
    return redis.resume


def cut(redis, wire):
    """Redis lives on, and sees every heartbeat lapse."""
    wire.cut()
    return wire.mend


def crash(redis, wire):
    redis.kill9()
    return redis.start


@pytest.mark.timeout(60 * SLOWER)
@pytest.mark.parametrize("how", [freeze, cut, crash])
def test_an_outage_longer_than_the_heartbeats_reaps_no_living_worker(cluster, wire, patient, how):
    sandbox, integration = patient
    schedulers = [cluster.scheduler(), cluster.scheduler()]
    workers = [cluster.worker(processes=2) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("event=started", 20 * SLOWER)
    first, *others = [i["id"] for i in sandbox.items("listing")]

    def push(id, item):
        cluster.push({"task": "import_resource", "id": id, "integration_id": integration, "args": {"external_id": item}})

    push("first", first)
    cluster.wait_idle(20)
    sandbox.settings(latency_ms=CALL_MS)
    for n, item in enumerate(others):
        push(f"slow-{n}", item)
    wait_until(lambda: len(sandbox.log(path="/v1/listings/")) == 1 + CALLS, 12 * SLOWER, cluster.describe)
    sandbox.pause()
    seen = [s.log_size() for s in schedulers]
    come_back = how(cluster.redis, wire)
    time.sleep(OUTAGE_S)
    # The workers reach it again 3 s later than the schedulers, which find no heartbeat until then.
    for worker in workers:
        worker.pause()
    come_back()
    for scheduler, since in zip(schedulers, seen):
        scheduler.wait_for_log("event=redis_up", 10 * SLOWER, since)
    time.sleep(3)
    for worker in workers:
        worker.resume()
    assert cluster.redis.client.hlen("flight:{guesty}") == CALLS, "they were under way all the time"
    sandbox.resume()
    for n in range(20):
        cluster.push({"task": "noop", "id": f"after-{n}"})
    cluster.wait_idle(40)

    ends = Counter(id for id, _ in job_ends(workers))
    assert ends == {id: 1 for id in ["first", *(f"slow-{n}" for n in range(CALLS)), *(f"after-{n}" for n in range(20))]}
    asked = Counter(re.sub(r"\?.*", "", e["path"]) for e in sandbox.log(path="/v1/listings/"))
    assert set(asked.values()) == {1} and len(asked) == 1 + CALLS, "each was asked for once"
    for process in workers + schedulers:
        assert not process.log_contains("event=(jobs_reaped|lease_lost|process_died|claims_reconciled)"), process.log_tail()
    assert cluster.one("SELECT count(*) FROM resources WHERE version = 1") == 1 + CALLS
    assert cluster.dead() == []
