"""Q8: a unique key's job is not queued twice while one waits or runs; an idempotency key that succeeded is not run again."""

import re

import requests

from harness import wait_until
from harness.process import SLOWER, lease_port


def ran(worker, job):
    return len(re.findall(rf"event=job_done .*job={job}\b", worker.log_text()))


def outcomes(cluster, worker, event):
    return worker.log_text().count(f"event={event}")


def keys(cluster):
    found = cluster.redis.client.keys("unique:*") + cluster.redis.client.keys("idem:*")
    return [k.decode() if isinstance(k, bytes) else k for k in found]


def imports(cluster, integration):
    return cluster.one("SELECT count(*) FROM runs WHERE task = 'import_resources' AND integration_id = %s", integration)


def test_of_many_with_one_unique_key_one_runs(cluster):
    sandbox = cluster.sandbox(listings=30, clean=True, limits="none", latency="100ms")
    integration = cluster.integration(sandbox)
    for n in range(20):
        cluster.push({"task": "import_resources", "integration_id": integration, "id": f"u{n}", "unique": "sync all"})
    cluster.scheduler()
    address = f"127.0.0.1:{lease_port()}"
    sandbox.pause()  # the first one runs until all others have been looked at
    worker = cluster.worker(concurrency=3, metrics=address)
    wait_until(lambda: outcomes(cluster, worker, "job_duplicate") == 19, 40 * SLOWER, cluster.describe)
    sandbox.resume()
    cluster.wait_idle(40)
    assert imports(cluster, integration) == 1 and cluster.dead() == []
    assert outcomes(cluster, worker, "job_duplicate") == 19, "each one that was turned away is told of"
    assert "owner=u0" in worker.log_text()

    def dropped():
        page = requests.get(f"http://{address}/metrics", timeout=30).text
        lines = [x for x in page.splitlines() if x.startswith("integration_tasks_total{") and 'outcome="duplicate"' in x]
        return sum(float(x.split()[-1]) for x in lines)

    wait_until(lambda: dropped() == 19, 10 * SLOWER, lambda: requests.get(f"http://{address}/metrics", timeout=30).text[:2000])
    # What is pushed after its end runs.
    cluster.push({"task": "import_resources", "integration_id": integration, "unique": "sync all"})
    cluster.wait_idle(40)
    assert imports(cluster, integration) == 2


def test_a_retry_keeps_the_key_and_a_dead_letter_frees_it(cluster):
    sandbox = cluster.sandbox(listings=5, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker()
    job = {"task": "import_resource", "integration_id": integration, "args": {"external_id": "missing"}, "unique": "one"}
    sandbox.fault(match="/v1/listings/missing", status=503)
    cluster.push({**job, "id": "first"})
    worker.wait_for_log(r"event=job_later.*job=first", 20 * SLOWER)
    cluster.push({**job, "id": "second"})
    worker.wait_for_log(r"event=job_duplicate.*owner=first", 20 * SLOWER)
    assert len(keys(cluster)) == 1
    sandbox.clear_faults()
    # Due now: it dies this time (404), and nobody has the key any more.
    def dies():  # it may have come due by itself
        late = cluster.redis.client.zrange("delayed:{guesty}", 0, -1)
        if late:
            cluster.redis.client.zadd("delayed:{guesty}", {m: 1 for m in late}, xx=True)
        return len(cluster.dead()) == 1
    wait_until(dies, 20 * SLOWER, cluster.describe)
    assert keys(cluster) == []
    cluster.push({**job, "id": "third", "max_retries": 0})
    wait_until(lambda: len(cluster.dead()) == 2, 20 * SLOWER, cluster.describe)
    assert [letter["job"] for letter in cluster.dead()] == ["first", "third"]


def test_replace_lets_the_newest_follow_the_one_that_runs(cluster):
    sandbox = cluster.sandbox(listings=30, clean=True, limits="none", latency="300ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker()
    job = {"task": "import_resources", "integration_id": integration, "unique": "sync", "unique_mode": "replace"}
    sandbox.pause()  # r0 runs until all have come
    cluster.push({**job, "id": "r0"})
    wait_until(lambda: cluster.queue()["in_flight"] == 1, 10 * SLOWER, cluster.describe)
    for n in range(1, 5):
        cluster.push({**job, "id": f"r{n}"})
    wait_until(lambda: outcomes(cluster, worker, "job_replaced") == 3, 20 * SLOWER, cluster.describe)
    sandbox.resume()
    cluster.wait_idle(50)
    log = worker.log_text()
    assert [n for n in range(5) if re.search(rf"event=job_done .*job=r{n}\b", log)] == [0, 4], log
    assert outcomes(cluster, worker, "job_replaced") == 3 and cluster.dead() == []


def test_an_idempotency_key_that_succeeded_is_not_run_again(cluster):
    cluster.scheduler()
    first, second = cluster.worker(), cluster.worker()
    for n in range(10):
        cluster.push({"task": "noop", "id": f"i{n}", "idempotency_key": "order 17 / \u00fc {x}"})
    cluster.wait_idle(40)
    assert sum(outcomes(cluster, w, "job_done") for w in (first, second)) == 1
    assert sum(outcomes(cluster, w, "job_duplicate") for w in (first, second)) == 9
    (key,) = keys(cluster)
    assert re.fullmatch(r"idem:\{guesty\}:[0-9a-f]{32}", key), "outside text never stands in a key"
    assert cluster.redis.client.pttl(key) > 23 * 3600 * 1000
    cluster.longshore("push", "guesty", "noop", "--idempotency-key", "order 17 / \u00fc {x}")
    cluster.wait_idle(40)
    assert sum(outcomes(cluster, w, "job_duplicate") for w in (first, second)) == 10


def test_a_killed_owner_keeps_its_key_and_runs_again(cluster):
    sandbox = cluster.sandbox(listings=10, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker()
    sandbox.fault(match="/v1/listings", delay_ms=20000, times=1)
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "owner", "unique": "k"})
    wait_until(lambda: any(e["path"].startswith("/v1/listings") for e in sandbox.log()) or keys(cluster), 20 * SLOWER,
               cluster.describe)
    worker.kill9()
    sandbox.clear_faults()  # it may have died before its call
    other = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "late", "unique": "k"})
    cluster.wait_idle(50)
    assert ran(other, "owner") == 1 and ran(other, "late") == 0
    assert cluster.one("SELECT count(*) FROM resources") == 10


def test_the_command_says_what_is_wrong_with_keys(cluster):
    assert cluster.longshore.run("push", "guesty", "noop", "--unique-mode", "replace").code == 2
    assert cluster.longshore.run("push", "guesty", "noop", "--unique", "a", "--unique-mode", "newest").code == 2
    cluster.longshore("push", "guesty", "noop", "--unique", "a \"b\"", "--unique-mode", "replace")
    cluster.scheduler()
    cluster.worker()
    cluster.wait_idle(20)
    assert cluster.dead() == [] and len(keys(cluster)) == 1
    cluster.push({"task": "noop", "unique": "a", "unique_mode": "newest"})
    wait_until(lambda: len(cluster.dead()) == 1, 20 * SLOWER, cluster.describe)
    assert "reject or replace" in cluster.dead()[0]["error"]


def test_a_job_that_is_cancelled_frees_its_keys(cluster):
    sandbox = cluster.sandbox(listings=5, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker()
    sandbox.fault(match="/v1/listings/missing", status=503)
    job = {"task": "import_resource", "integration_id": integration, "args": {"external_id": "missing"}, "unique": "one",
           "idempotency_key": "two"}
    cluster.push({**job, "id": "first"})
    worker.wait_for_log(r"event=job_later.*job=first", 20 * SLOWER)
    wait_until(lambda: cluster.redis.client.zcard("delayed:{guesty}") == 1, 10 * SLOWER, cluster.describe)
    assert len(keys(cluster)) == 2
    # It may have come due by itself just now.
    wait_until(lambda: cluster.longshore.run("job", "cancel", "first").code == 0, 20 * SLOWER, cluster.describe)
    assert keys(cluster) == []
    sandbox.clear_faults()
    cluster.push({**job, "id": "second"})
    wait_until(lambda: len(cluster.dead()) == 1, 20 * SLOWER, cluster.describe)
    assert cluster.dead()[0]["job"] == "second", "it ran: the partner does not know the item"
