"""Whatever dies, whenever: what was accepted is done, once it can be, and the rows are right."""

import os
import signal
import time

import pytest

from harness import Redis, wait_until
from harness.guesty import differences, expected, listing_row, reservation_row
from harness.process import SLOWER

LISTINGS = 700  # seven pages


def start_import(cluster, listings=LISTINGS, latency="250ms", **flags):
    sandbox = cluster.sandbox(listings=listings, reservations=40, clean=True, latency=latency, **flags)
    return sandbox, cluster.integration(sandbox)


def stored(cluster):
    return cluster.one("SELECT count(*) FROM resources")


def wait_mid_import(cluster, at_least=150):
    """Until some pages are stored and others are not."""
    wait_until(lambda: at_least <= stored(cluster), 30 * SLOWER, cluster.describe, 0.01)
    assert stored(cluster) < LISTINGS, "the import was over before it could be disturbed"


def assert_all_there(cluster, sandbox, integration, account="acct-1"):
    rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("listing", account), listing_row)[0])
    rows = cluster.sql("SELECT * FROM transactions WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("reservation", account), reservation_row)[0])
    assert cluster.dead() == []


def test_a_killed_process_is_replaced_and_its_job_goes_on_from_its_page(cluster):
    sandbox, integration = start_import(cluster)
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_mid_import(cluster)
    killed = worker.kill9_child()
    began = time.monotonic()
    wait_until(lambda: worker.children() and worker.children() != [killed], 5 * SLOWER, "another process")
    cluster.wait_idle(40)
    assert time.monotonic() - began < 40 * SLOWER
    assert_all_there(cluster, sandbox, integration)
    assert worker.log_contains("event=process_died") and worker.log_contains("event=jobs_given_back")
    pages = len(sandbox.log(path="/v1/listings?"))
    assert pages <= LISTINGS // 100 + 3, "it goes on from its last page instead of starting over"


def test_a_killed_worker_is_noticed_and_another_finishes_within_15_s(cluster):
    sandbox, integration = start_import(cluster)
    cluster.scheduler()
    first = cluster.worker(processes=2)
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_mid_import(cluster)
    second = cluster.worker(processes=2)
    second.wait_for_log("event=started")
    first.kill9()  # the supervisor and all its processes: nobody is left to give the job back
    began = time.monotonic()
    cluster.wait_idle(40)
    took = time.monotonic() - began
    assert_all_there(cluster, sandbox, integration)
    print(f"killed to done: {took:.1f} s")
    # The heartbeat's life and the reaper's caution are ten of it; a machine with more to do than cores adds to what is left.
    loaded = os.getloadavg()[0] > 5 * os.cpu_count()
    assert took < 15 + (10 * SLOWER if loaded else 5 * (SLOWER - 1))


def test_workers_die_again_and_again(cluster):
    """Ten accounts, a process killed every now and then: at the end every row is there, once."""
    sandbox = cluster.sandbox(listings=150, reservations=20, clean=True, latency="60ms")
    accounts = {f"acct-{n}": cluster.integration(sandbox, f"acct-{n}") for n in range(1, 11)}
    worker = cluster.worker(processes=2)
    worker.wait_for_log("event=started")
    for integration in accounts.values():
        cluster.push({"task": "import_resources", "integration_id": integration})
    for goal in (200, 600, 1000):
        wait_until(lambda: stored(cluster) >= goal or not cluster.busy(), 40 * SLOWER, cluster.describe, 0.01)
        if cluster.busy() and worker.children():
            worker.kill9_child()
    cluster.wait_idle(50)
    for account, integration in accounts.items():
        assert_all_there(cluster, sandbox, integration, account)


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_redis_goes_away_and_comes_back(cluster, how):
    sandbox, integration = start_import(cluster)
    scheduler, worker = cluster.scheduler(), cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    for _ in range(200):
        cluster.push({"task": "noop"}, "queue:{guesty}:low")
    wait_mid_import(cluster)
    children = worker.children()
    getattr(cluster.redis, how)(down_s=1)
    cluster.push({"task": "noop"})
    cluster.wait_idle(45)
    assert_all_there(cluster, sandbox, integration)
    assert worker.children() == children and scheduler.is_running(), "the same processes, reconnected"
    assert worker.log_contains("event=redis_down") and worker.log_contains("event=redis_up")
    scheduler.wait_ready()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_postgres_goes_away_and_comes_back(cluster, how):
    sandbox, integration = start_import(cluster)
    scheduler, worker = cluster.scheduler(), cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_mid_import(cluster)
    children = worker.children()
    cluster.postgres.restart(down_s=1, how=how)
    cluster.wait_idle(50)
    assert_all_there(cluster, sandbox, integration)
    assert worker.children() == children and scheduler.is_running()
    scheduler.wait_ready()


def test_a_frozen_redis_is_survived(cluster):
    """Stopped, not gone: connections stay open and nothing answers."""
    sandbox, integration = start_import(cluster, listings=500, latency="100ms")
    cluster.scheduler()
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: stored(cluster) >= 100, 30 * SLOWER, cluster.describe, 0.01)
    cluster.redis.pause()
    thawed = time.monotonic() + 7
    wait_until(lambda: time.monotonic() > thawed, 20, every=0.2)
    cluster.redis.resume()
    cluster.wait_idle(45)
    assert_all_there(cluster, sandbox, integration)
    assert worker.is_running() and len(worker.children()) == 1


def test_daemons_wait_for_redis_and_say_so(cluster):
    cluster.redis.stop()
    scheduler, worker = cluster.make_scheduler(import_every="0").start(), cluster.worker()
    worker.wait_for_log("waiting_for_redis", 15 * SLOWER)
    scheduler.wait_for_log("waiting_for_redis", 15 * SLOWER)
    assert not scheduler.is_ready()
    cluster.redis = cluster.add(RedisAgain(cluster.redis)).start()
    worker.wait_for_log("event=started", 20 * SLOWER)
    scheduler.wait_ready(20 * SLOWER)
    cluster.push({"task": "noop"})
    cluster.wait_idle(20)


class RedisAgain(Redis):
    """The same address, the same data."""

    def __init__(self, before):
        super().__init__(before.folder, aof=True, name="redis-again")
        self.argv[self.argv.index(str(self.port))] = str(before.port)
        self.port, self.url = before.port, before.url
        self.client = type(self.client)(port=self.port, socket_timeout=20)


def test_daemons_wait_for_postgres_and_say_so(cluster):
    cluster.postgres.signal(signal.SIGINT)
    cluster.postgres.wait(20)
    scheduler, worker = cluster.make_scheduler(import_every="0").start(), cluster.worker()
    worker.wait_for_log("waiting_for_postgres", 15 * SLOWER)
    scheduler.wait_for_log("waiting_for_postgres", 15 * SLOWER)
    cluster.postgres.start()
    worker.wait_for_log("event=started", 20 * SLOWER)
    scheduler.wait_ready(20 * SLOWER)
    cluster.push({"task": "noop"})
    cluster.wait_idle(20)


def test_term_lets_running_jobs_finish(cluster):
    sandbox, integration = start_import(cluster, listings=90, latency="1500ms")
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: sandbox.log(path="/v1/listings"), 20 * SLOWER, "the first call to have been sent", 0.01)
    assert worker.term(25) == 0
    assert stored(cluster) == 90, "the job under way was finished"
    assert cluster.redis.client.hlen("flight:{guesty}") == 0 and cluster.dead() == []
    cluster.worker()  # the child that was queued meanwhile waits for the next worker
    cluster.wait_idle(30)
    assert_all_there(cluster, sandbox, integration)


def test_term_hands_back_what_does_not_finish_in_time(cluster):
    sandbox, integration = start_import(cluster, latency="1500ms")
    worker = cluster.worker(grace="1s")
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: len(sandbox.log(path="/v1/listings")) >= 2, 30 * SLOWER, "the second page to be asked for", 0.01)
    began = time.monotonic()
    assert worker.term(20) == 0 and time.monotonic() - began < 20 * SLOWER, "not the 30 s that it has by default"
    assert cluster.redis.client.hlen("flight:{guesty}") == 0
    assert cluster.busy() == 1 and cluster.dead() == [], "the job is back in its queue"
    (member,) = cluster.redis.client.zrange("ready:{guesty}:normal", 0, -1)
    attempts = member.split(b"\n")[0].split(b" ")[3]
    assert attempts == b"0", f"no retry was used: {member}"
    sandbox.settings(latency_ms=50)
    cluster.worker()
    cluster.wait_idle(40)
    assert_all_there(cluster, sandbox, integration)


def test_a_second_term_stops_at_once(cluster):
    sandbox, integration = start_import(cluster, latency="20s")
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: sandbox.log(), 20 * SLOWER, "the first call", 0.01)
    worker.signal(signal.SIGTERM)
    worker.wait_for_log("event=stopping", 10 * SLOWER)
    assert worker.is_running()
    began = time.monotonic()
    worker.exits |= {0, 1, -signal.SIGTERM, 128 + signal.SIGTERM}
    worker.signal(signal.SIGTERM)
    worker.wait(15)
    assert time.monotonic() - began < 15
    sandbox.settings(latency_ms=10)
    sandbox.clear_faults()


def test_two_schedulers_one_leads_and_another_takes_over(cluster):
    first = cluster.scheduler()
    wait_until(lambda: first.log_contains("event=leading"), 15 * SLOWER, first.log_tail)
    second = cluster.scheduler()
    assert not second.log_contains("event=leading ")
    cluster.longshore("status")
    first.kill9()
    wait_until(lambda: second.log_contains(r"event=leading\b"), 12 * SLOWER, second.log_tail)
    # A delayed job is promoted by whoever leads now.
    cluster.worker()
    cluster.push({"task": "noop", "run_at": int(time.time() * 1000) + 500})
    cluster.wait_idle(20)
