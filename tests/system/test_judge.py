"""The judge: several worker processes share a budget of many tiers, used to the last call (share 1), and the partner's own
arrival log says whether any window of any tier was ever over.  How much of the budget was used is printed (pytest -s)."""

import json
import shutil
import time
from collections import Counter

import pytest

from harness import Redis, wait_until
from harness.process import ROOT, SLOWER
from harness.proxy import Proxy
from harness.sandbox import busiest

TIERS = [(20, 1), (80, 5), (130, 10)]


@pytest.fixture
def budget(cluster, tmp_path):
    """A partner that allows TIERS, to an integration each."""
    folder = tmp_path / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["limits"] = [{"scope": "integration", "rate": rate, "window": f"{seconds}s", "share": 1.0} for rate, seconds in TIERS]
    manifest.pop("limit_headers", None)
    manifest["api"]["concurrency"] = {"partner": 64, "integration": 32}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)
    limits = ",".join(f"{rate}/{seconds}s" for rate, seconds in TIERS)
    sandbox = cluster.sandbox(listings=100, clean=True, limits=limits, in_flight=64, latency="30ms,60ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    return sandbox, integration


def push_calls(cluster, sandbox, integration, n):
    ids = [item["id"] for item in sandbox.items("listing")]
    with cluster.redis.client.pipeline(transaction=False) as pipe:
        for i in range(n):
            job = {"task": "import_resource", "integration_id": integration, "args": {"external_id": ids[i % len(ids)]}}
            pipe.lpush("queue:{guesty}", json.dumps(job))
        pipe.execute()


def allowed(from_us, to_us):
    """What the tiers allow at most between two instants, both included, to one who takes each call as soon as he may."""
    calls, now = [], from_us
    while now <= to_us:
        next_us = now
        for limit, seconds in TIERS:
            if len(calls) >= limit:
                next_us = max(next_us, calls[-limit] + seconds * 1000000)
        if next_us > to_us:
            break
        calls.append(next_us)
        now = next_us
    return len(calls)


def judge(sandbox):
    """The sorted arrivals, after every window of every tier was looked at."""
    calls = sandbox.log(path="/v1/")
    times = sorted(c["at_us"] for c in calls)
    fullest = {f"{limit}/{seconds}s": busiest(times, seconds * 1000000) for limit, seconds in TIERS}
    over = {tier: most for tier, most in fullest.items() if most > int(tier.split("/")[0])}
    assert not over, f"over the limit: {over} of {len(times)} calls, {Counter(c['status'] for c in calls)}"
    assert sandbox.stats()["refused"] == 0
    return times, fullest


def test_four_processes_never_exceed_a_window_and_waste_little(cluster, budget, capsys):
    sandbox, integration = budget
    cluster.redis.client.set("limit:{guesty}:since", 1)  # not new here: nothing is held back for what a lost log may hide
    for _ in range(2):
        cluster.worker(processes=2).wait_for_log("event=started")
    push_calls(cluster, sandbox, integration, 1000)
    wait_until(lambda: len(sandbox.log(path="/v1/")) > 150, 30 * SLOWER, cluster.describe, 0.2)
    times, fullest = judge(sandbox)
    best = allowed(times[0], times[-1])
    with capsys.disabled():
        print(f"\n  {len(times)} calls of {best} allowed in {(times[-1] - times[0]) / 1e6:.1f} s: "
              f"{100 * len(times) / best:.1f} %; the fullest windows {fullest}")
    assert len(times) >= 0.8 * best, "hardly a limiter, more of a brake"


@pytest.mark.timeout(120)
def test_not_even_while_everything_dies(cluster, budget):
    sandbox, integration = budget
    workers = [cluster.worker(processes=2) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("event=started")
    push_calls(cluster, sandbox, integration, 1000)

    def calls():
        return len(sandbox.log(path="/v1/"))

    wait_until(lambda: calls() > 30, 20 * SLOWER, cluster.describe, 0.1)
    workers[0].kill9_child()
    sandbox.fault(match="/v1/", status=429, retry_after=1, times=3)  # a storm of the partner's own making
    wait_until(lambda: 429 in sandbox.statuses("/v1/"), 20 * SLOWER, cluster.describe, 0.1)
    workers[1].kill9_child()
    cluster.redis.restart(down_s=0.5)
    at = calls()
    wait_until(lambda: calls() > at + 30, 30 * SLOWER, cluster.describe, 0.1)
    workers[0].kill9_child()
    sandbox.settings(jitter_ms=400)
    at = calls()
    wait_until(lambda: calls() > at + 30, 30 * SLOWER, cluster.describe, 0.1)
    time.sleep(0.5)  # what was on its way when the last one was counted
    judge(sandbox)


def test_not_even_when_a_replica_takes_over_that_missed_the_last_calls(cluster, budget):
    sandbox, integration = budget
    cluster.redis.client.set("limit:{guesty}:since", 1)
    wire = Proxy(cluster.redis.port).mend()
    cluster.redis.url = f"redis://127.0.0.1:{wire.port}/0"
    cluster.longshore.env = cluster.env()
    (cluster.folder / "replica").mkdir()
    link = Proxy(cluster.redis.port).mend()
    replica = cluster.add(Redis(cluster.folder / "replica", name="replica", options=("--replicaof", "127.0.0.1", link.port))).start()
    wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", 20 * SLOWER, "the replica")
    scheduler = cluster.scheduler()  # one that follows, to promote what has waited
    workers = [cluster.worker(processes=2) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("event=started")
    push_calls(cluster, sandbox, integration, 600)

    def calls():
        return len(sandbox.log(path="/v1/"))

    wait_until(lambda: calls() > 50, 20 * SLOWER, cluster.describe, 0.05)
    link.cut()
    at = calls()
    wait_until(lambda: calls() >= at + 6, 20 * SLOWER, cluster.describe, 0.02)
    wire.cut()
    cluster.redis.kill9()
    known = replica.client.zcard(f"limit:{{guesty}}:{sandbox.url.split('//')[1]}:i{integration}")
    replica.client.execute_command("REPLICAOF", "NO", "ONE")
    wire.target, cluster.redis.client = replica.port, replica.client
    wire.mend()
    at = calls()
    assert known < at, "the replica knows of fewer calls than were made"
    wait_until(lambda: calls() > at + 40, 30 * SLOWER, cluster.describe, 0.1)
    time.sleep(0.2)  # what was on its way when the last one was counted
    judge(sandbox)
    for program in [*workers, scheduler]:
        program.kill9()
    wire.cut()
