"""A paused integration's jobs wait, unharmed, until it is resumed; nobody else waits with them."""

from harness import wait_until
from harness.process import SLOWER


def test_jobs_of_a_paused_integration_wait(cluster):
    sandbox = cluster.sandbox(listings=40, clean=True, limits="none")
    paused, other = cluster.integration(sandbox, "acct-1"), cluster.integration(sandbox, "acct-2")
    cluster.scheduler()
    worker = cluster.worker()
    cluster.longshore("integration", "pause", paused)
    shown = cluster.longshore("integration", "show", paused, "--json").json()
    assert shown["status"] == "paused"
    for listing in sandbox.items("listing", "acct-1")[:20]:
        cluster.push({"task": "import_resource", "integration_id": paused, "args": {"external_id": listing["id"]}})
    cluster.push({"task": "import_resources", "integration_id": other})
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", other) == 40, 30 * SLOWER,
               cluster.describe)
    wait_until(lambda: cluster.queue()["held"] == 20, 15 * SLOWER, lambda: f"20 held jobs; {cluster.status()}")
    assert cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", paused) == 0
    assert sandbox.log(account="acct-1") == [], "not a single call was made for it"
    assert cluster.dead() == []

    cluster.longshore("integration", "resume", paused)
    cluster.wait_idle(40)
    assert cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", paused) == 20
    assert cluster.longshore("integration", "show", paused, "--json").json()["status"] == "active"
    assert cluster.dead() == [] and cluster.queue()["held"] == 0

    # Drained: nothing is started, what could run is waited for, what is delayed is not.
    cluster.longshore("push", "guesty", "noop", "--run-at", "1h")
    worker.pause()
    cluster.push({"task": "noop"})
    short = cluster.longshore.run("drain", "--for", "10ms", "--reason", "upgrade")
    assert short.code == 1 and "1 jobs could run and 0 do, of guesty" in short.err and "resume --scheduling" in short.err, short
    worker.resume()
    told = cluster.longshore("drain", "guesty", "--for", "50s", "--json").json()
    assert told["drained"] and (told["ready"], told["in_flight"], told["delayed"], told["held"]) == (0, 0, 1, 0), told
    (pause,) = cluster.status()["pauses"]
    assert (pause["level"], pause["reason"]) == ("scheduling", "upgrade"), "the first one's word stands"
    cluster.longshore("resume", "--scheduling")
    assert cluster.status()["pauses"] == []


def test_a_pause_survives_restarts_of_workers_and_redis(cluster):
    sandbox = cluster.sandbox(listings=10, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker()
    worker.wait_for_log("event=started")
    cluster.longshore("integration", "pause", integration)
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: cluster.queue()["held"] == 1, 15 * SLOWER, lambda: f"a held job; {cluster.status()}")
    cluster.redis.restart()
    assert worker.term() == 0
    cluster.worker().wait_for_log("event=started")
    cluster.push({"task": "noop"})
    wait_until(lambda: cluster.busy() == 1, 20 * SLOWER, cluster.describe)
    assert sandbox.log() == [] and cluster.queue()["held"] == 1
    cluster.longshore("integration", "resume", integration)
    cluster.wait_idle(40)
    assert cluster.one("SELECT count(*) FROM resources") == 10
