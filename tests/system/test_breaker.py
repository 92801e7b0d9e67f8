"""The circuit breaker: a partner that is down costs nobody anything, and is asked by one call at a time (R7)."""

import json
import re
import shutil

import pytest

from harness import wait_until
from harness.process import ROOT, SLOWER


@pytest.fixture
def fragile(cluster, tmp_path):
    """Guesty without limits and with a breaker that does not take minutes; (sandbox, integration)."""

    def make(breaker=None, timeout=None, **flags):
        folder = tmp_path / "drivers" / "guesty"
        shutil.copytree(ROOT / "drivers" / "guesty", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["limits"], manifest["limit_headers"] = [], []
        manifest["breaker"] = {"open": "2s", "open_max": "4s", "slow_start": "3s", **(breaker or {})}
        manifest["api"]["timeout"] = timeout or {"connect": "5s", "read": "10s", "total": "20s"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        cluster.add_drivers(folder.parent)
        sandbox = cluster.sandbox(**{"listings": 100, "clean": True, "limits": "none", "latency": "30ms", **flags})
        return sandbox, cluster.integration(sandbox)

    return make


def push_items(cluster, sandbox, integration, n, prefix="job"):
    push_all(cluster, integration, sandbox.items("listing")[:n], prefix)


def push_all(cluster, integration, items, prefix="job"):
    for number, item in enumerate(items):
        cluster.push({"task": "import_resource", "id": f"{prefix}-{number}", "integration_id": integration,
                      "args": {"external_id": item["id"]}})


def push_at_once(cluster, sandbox, integration, n):
    """Many calls are there before the first is answered: where they fail they do so at once, before anybody comes to his second try."""
    items, client = sandbox.items("listing")[:n], cluster.redis.client
    sandbox.pause()
    push_all(cluster, integration, items)
    wait_until(lambda: sum(map(client.zcard, client.scan_iter("limit:{guesty}:*:flight"))) >= 8, 20 * SLOWER, cluster.describe)
    sandbox.resume()


def breaker(cluster):
    """That of the one sandbox; nobody calls Guesty itself."""
    rows = cluster.longshore("breaker", "list", "guesty", "--json").json()
    (row,) = [r for r in rows if r["host"].startswith("127.0.0.1:")]
    return row


def ready(workers):
    for worker in workers:
        worker.wait_for_log("event=started", 20 * SLOWER)
    return workers


def retries(workers):
    """Jobs that paid for a failure with a retry."""
    text = "\n".join(w.log_text() for w in workers)
    return [line for line in text.splitlines() if "event=job_later" in line and "class=transient" in line]


def warm(cluster, sandbox, integration):
    """One call that succeeds: there is a token, and control knows the host."""
    push_items(cluster, sandbox, integration, 1, "warm")
    cluster.wait_idle(20)


@pytest.mark.timeout(120)
def test_an_outage_costs_no_retries_and_few_calls(cluster, fragile):
    """First told to wait, then down for many seconds (T9 of the ways in which queues fail)."""
    sandbox, integration = fragile({"open": "4s", "open_max": "4s"})
    cluster.scheduler()
    workers = ready([cluster.worker(processes=2) for _ in range(2)])
    warm(cluster, sandbox, integration)
    seen = len(sandbox.log())
    sandbox.fault(match="/v1/", status=429, retry_after=1, times=1)
    sandbox.fault(match="/v1/", status=503)
    push_at_once(cluster, sandbox, integration, 80)
    wait_until(lambda: breaker(cluster)["opens"] >= 3, 30 * SLOWER, cluster.describe)  # 4 s each

    def waits():
        row = cluster.queue()
        return row["held"] > 60 and row["in_flight"] <= 1
    wait_until(waits, 10 * SLOWER, lambda: str(cluster.queue()))
    during = sandbox.log()[seen:]
    failed = [e for e in during if e["status"] == 503]
    first = failed[0]["at_us"]
    # It is open for 4 s; between the others there is the second that the 429 asked for, at most.  Calls are paced after
    # that one, and a process may go on until it has heard of it, for a second.
    probes = [e for last, e in zip(failed, failed[1:]) if e["at_us"] > last["at_us"] + 2_500_000]
    # Each of four processes may find it out for itself, with as many calls as an integration may have under way.
    assert len(failed) - len(probes) <= 4 * (12 + 3), [e["at_us"] - first for e in failed]
    assert 2 <= len(probes) <= 1 + (failed[-1]["at_us"] - first) / 4_000_000, [e["at_us"] - first for e in failed]
    assert max(e["in_flight"] for e in probes) == 1
    assert retries(workers) == [], "no retry was used"

    sandbox.clear_faults()
    cluster.wait_idle(50)
    assert cluster.one("SELECT count(*) FROM resources") == 80
    assert cluster.dead() == [] and retries(workers) == []
    after = [e for e in sandbox.log() if e["status"] == 200 and e["at_us"] > failed[-1]["at_us"]]
    begin = after[0]["at_us"]
    early = [e["in_flight"] for e in after if e["at_us"] < begin + 600_000]
    assert max(early) <= 4, f"a slow start, doubling eleven times in 3 s: {early}"
    assert breaker(cluster)["state"] == "closed"
    for worker in workers:
        for line in re.findall(r".*event=breaker_opened.*", worker.log_text()):
            assert "503" in line


@pytest.mark.timeout(120)
def test_who_dies_on_the_probe_does_not_keep_it(cluster, fragile):
    sandbox, integration = fragile({"open": "1s", "open_max": "1s"}, {"connect": "1s", "read": "3s", "total": "4s"})
    cluster.scheduler()
    workers = ready([cluster.worker(), cluster.worker()])
    warm(cluster, sandbox, integration)
    sandbox.fault(match="/v1/", status=503, times=5)
    sandbox.fault(match="/v1/", delay_ms=60000)
    push_at_once(cluster, sandbox, integration, 30)
    # The probe: one call that gets no answer.
    def probing():
        leases = cluster.redis.client.hkeys("flight:{guesty}") if breaker(cluster)["state"] == "half_open" else []
        return leases if len(leases) == 1 else None
    (lease,) = wait_until(probing, 20 * SLOWER, cluster.describe, 0.01)
    pid = int(re.search(r"-(\d+)-", lease.decode() if isinstance(lease, bytes) else lease).group(1))
    victim = next(w for w in workers if pid in w.children())
    victim.kill9_child()
    sandbox.clear_faults()
    cluster.wait_idle(40)
    assert cluster.one("SELECT count(*) FROM resources") == 30
    assert cluster.dead() == [] and retries(workers) == []


def test_by_hand_and_why(cluster, fragile):
    """Open: at once, for this host alone, and everybody says why.  Close: at once."""
    sandbox, integration = fragile()
    other = cluster.sandbox(listings=20, clean=True, limits="none")
    elsewhere = cluster.integration(other, "acct-2")
    cluster.scheduler()
    ready([cluster.worker(processes=2) for _ in range(2)])
    warm(cluster, sandbox, integration)
    host = sandbox.url.split("//")[1]

    def state():
        return {r["host"]: r["state"] for r in cluster.longshore("breaker", "list", "--json").json() if r["partner"] == "guesty"}

    assert host in state() and state()[host] == "closed"
    unknown = cluster.longshore.run("breaker", "open", "guesty", host + "0")
    assert unknown.code == 3 and host in unknown.err
    assert cluster.longshore.run("breaker", "open", "guesty").code == 2, "which host?"
    cluster.longshore("breaker", "open", "guesty", host, "--reason", "they told us so")
    assert state()[host] == "open"
    since = len(sandbox.log())
    push_items(cluster, sandbox, integration, 20)
    for item in other.items("listing", "acct-2")[:10]:
        cluster.push({"task": "import_resource", "integration_id": elsewhere, "args": {"external_id": item["id"]}})
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", elsewhere) == 10,
               20 * SLOWER, cluster.describe)
    wait_until(lambda: cluster.queue()["held"] == 20, 10 * SLOWER, cluster.describe)
    assert cluster.queue()["in_flight"] == 0 and len(sandbox.log()) == since
    shown = cluster.longshore("job", "show", "job-0", "--json").json()
    assert shown["state"] == "held" and any(host in w and "they told us so" in w for w in shown["why"]), shown["why"]
    queue = cluster.longshore("queue", "show", "guesty", "--json").json()
    assert any(host in w for w in queue["why"]) and queue["breakers"][0]["by_hand"] is True
    assert host in cluster.longshore("queue", "show", "guesty").out
    assert "stranded" not in cluster.longshore.run("doctor").out
    cluster.longshore("breaker", "close", "guesty", host)
    cluster.wait_idle(20)
    assert cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", integration) == 20
    assert cluster.dead() == []

    # For a while: then a call probes, without anybody's help.
    cluster.longshore("breaker", "open", "guesty", host, "--for", "1s")
    push_items(cluster, sandbox, integration, 5, "later")
    cluster.wait_idle(20)
    assert state()[host] == "closed"


@pytest.mark.timeout(120)
def test_scheduled_imports_are_left_out_and_one_catches_up(cluster, fragile):
    sandbox, integration = fragile({"open": "4s", "open_max": "4s"}, listings=10)
    scheduler = cluster.scheduler(import_every="1s")
    worker = ready([cluster.worker()])[0]
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources") == 10, 20 * SLOWER, cluster.describe)
    sandbox.fault(match="/v1/", status=503)
    wait_until(lambda: breaker(cluster)["state"] == "open", 30 * SLOWER, cluster.describe)
    wait_until(lambda: 'integration_breaker_state{partner="guesty"} 2' in scheduler.get("/metrics").text, 10 * SLOWER,
               "the metric")
    scheduler.wait_for_log(r"event=imports_left_out.*reason=breaker", 20 * SLOWER)
    (alert,) = wait_until(lambda: cluster.sql("SELECT * FROM alerts WHERE kind = 'breaker_open' AND state = 'open'"),
                          20 * SLOWER, cluster.describe)
    assert "503" in alert["what"] and "breaker close" in alert["todo"] and alert["scope"].startswith("guesty ")
    owed = "SELECT next_at < now() - interval '1 s' FROM schedules WHERE integration_id = %s"
    wait_until(lambda: cluster.one(owed, integration), 10 * SLOWER, "a start that waits")
    sandbox.clear_faults()
    scheduler.wait_for_log(r"event=caught_up.*missed=[1-9]", 30 * SLOWER)
    wait_until(lambda: breaker(cluster)["state"] == "closed", 30 * SLOWER, cluster.describe)
    wait_until(lambda: cluster.one("SELECT state FROM alerts WHERE kind = 'breaker_open'") == "resolved", 20 * SLOWER,
               cluster.describe)
    # Four seconds each; a scheduler that comes late by one misses one, too.
    missed = [int(n) for n in re.findall(r"event=caught_up.*missed=(\d+)", scheduler.log_text())]
    assert len([n for n in missed if n >= 3]) <= 3, f"one for each time that it was open: {missed}"
    assert cluster.dead() == []


def test_refused_credentials_owe_one_import(cluster):
    sandbox = cluster.sandbox(listings=5, clean=True)
    integration = cluster.integration(sandbox)
    scheduler = cluster.scheduler()
    worker = ready([cluster.worker()])[0]
    cluster.sql("UPDATE integrations SET status = 'auth_broken' WHERE id = %s RETURNING 1", integration)
    for _ in range(2):
        cluster.push({"task": "import_all_resources"}, "queue:{longshore}")
        cluster.wait_idle(20)
    assert worker.log_text().count("event=imports_left_out") == 2
    assert not sandbox.log(path="/v1/")
    cluster.longshore("integration", "resume", integration)
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources") == 5, 20 * SLOWER, cluster.describe)
    cluster.wait_idle(20)
    scheduler.wait_for_log("event=caught_up", 20 * SLOWER)
    assert scheduler.log_text().count("event=caught_up") == 1
