"""Q13: our own producers stop at a lane's bound, drop no child and double none; starts by the clock are skipped and counted."""

import contextlib
import json
import re
import shutil


from harness import wait_until
from harness.process import ROOT, SLOWER


def waiting(cluster, partner, lane="normal"):
    client = cluster.redis.client
    number = {"high": 1, "normal": 2, "low": 3}[lane]
    return client.zcard(f"ready:{{{partner}}}:{lane}") + int(client.hget(f"packed:{{{partner}}}", number) or 0)


def put_off(worker):
    return len(re.findall(r"event=job_later .*job=all\b", worker.log_text()))


def hasten(cluster):
    """What is put off is due now: a pause of seconds is right for a lane of 10,000, not for a test."""
    delayed = cluster.redis.client.zrange("delayed:{longshore}", 0, -1)
    if delayed:
        cluster.redis.client.zadd("delayed:{longshore}", {member: 1 for member in delayed}, xx=True)


def add_companies(cluster, sandbox, n):
    """n companies with an integration each, written as `longshore integration add` would, in one go."""
    first = cluster.integration(sandbox)
    cluster.sql("INSERT INTO companies (name) SELECT 'Company ' || n FROM generate_series(2, %s) n", n)
    cluster.sql("INSERT INTO integrations (company_id, partner, base_url) SELECT id, 'guesty', %s FROM companies"
                " WHERE name LIKE 'Company %%'", sandbox.url + "/v1")
    return first


def test_a_fan_out_pauses_at_the_bound_and_queues_each_child_once_whoever_dies(cluster):
    sandbox = cluster.sandbox(listings=1, clean=True, limits="none")
    companies, bound = 24, 5
    add_companies(cluster, sandbox, companies)
    cluster.scheduler()
    # Nobody serves guesty: its lane fills.
    fans = cluster.worker(partners="longshore", lane_bound=bound, processes=1)
    cluster.push({"task": "import_all_resources", "id": "all"}, "queue:{longshore}")
    fans.wait_for_log(r"event=job_later .*job=all\b", 20 * SLOWER)
    assert cluster.one("SELECT state FROM runs WHERE task = 'import_all_resources'") == "running"
    kills = 0
    queued = set()

    def integrations_queued():
        for member in cluster.redis.client.zrange("ready:{guesty}:normal", 0, -1):
            queued.add(json.loads(member.split(b"\n", 1)[1])["integration_id"])
        return len(queued)

    # The lane fills to its bound, then everything pauses: what waits in {longshore} is what was put off.
    wait_until(lambda: waiting(cluster, "guesty") >= bound, 20 * SLOWER, cluster.describe)
    drained = 0

    def step():
        """Jobs of the full lane go, as if a worker had run them; each one's integration is on record."""
        nonlocal drained, kills
        hasten(cluster)
        n = waiting(cluster, "guesty")
        assert n <= bound, "a fan-out went over the bound"
        integrations_queued()
        if kills < 3 and n == bound:
            fans.kill9_child()  # in the middle of paused fan-outs
            kills += 1
            wait_until(lambda: len(fans.children()) == 1, 10 * SLOWER, fans.log_tail)
        if n == bound:
            for member in cluster.redis.client.zrange("ready:{guesty}:normal", 0, 2):
                drained += cluster.redis.client.zrem("ready:{guesty}:normal", member)
        return cluster.busy(("longshore",)) == 0

    wait_until(step, 50, cluster.describe, every=0.1)
    integrations_queued()
    assert cluster.busy(("longshore",)) == 0, cluster.describe()
    assert kills == 3 and put_off(fans) >= 2
    assert drained + waiting(cluster, "guesty") == companies, "each child once: none dropped, none doubled"
    assert len(queued) == companies
    assert cluster.one("SELECT state FROM runs WHERE task = 'import_all_resources'") == "done"
    assert cluster.one("SELECT total FROM runs WHERE task = 'import_all_resources'") == companies
    assert cluster.dead() == []


def test_no_settlement_queues_thousands_of_children(cluster):
    sandbox = cluster.sandbox(listings=1, clean=True, limits="none")
    add_companies(cluster, sandbox, 1200)
    # One company with very many accounts, too.
    cluster.sql("INSERT INTO integrations (company_id, partner, base_url) SELECT %s, 'guesty', %s FROM generate_series(1, 600)",
                cluster.company_id, sandbox.url + "/v1")
    cluster.scheduler()
    worker = cluster.worker(partners="longshore")
    cluster.push({"task": "import_all_resources", "id": "all"}, "queue:{longshore}")
    wait_until(lambda: waiting(cluster, "guesty") == 1800, 40, cluster.describe)
    cluster.wait_idle(20, ("longshore",))
    queued = [json.loads(m.split(b"\n", 1)[1])["integration_id"]
              for m in cluster.redis.client.zrange("ready:{guesty}:normal", 0, -1)]
    assert len(queued) == len(set(queued)) == 1800
    assert len(re.findall(r"event=job_goes_on .*job=all\b", worker.log_text())) == 2, "500, 500, 200"
    assert len(re.findall(r"event=job_goes_on .*task=import_company", worker.log_text())) == 1, "500, 101"
    assert cluster.one("SELECT total FROM runs WHERE task = 'import_all_resources'") == 1200
    assert cluster.one("SELECT total FROM runs WHERE task = 'import_company_resources' AND total > 1") == 601


def test_a_partner_whose_lane_is_full_holds_up_no_other(cluster):
    folder = cluster.folder / "drivers" / "calm"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["partner"] = "calm"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)
    sandbox = cluster.sandbox(listings=3, clean=True, limits="none")
    busy = [cluster.integration(sandbox) for _ in range(3)]
    calm = cluster.integration(sandbox, partner="calm")
    cluster.scheduler()
    worker = cluster.worker(partners="longshore,calm", lane_bound=1)
    cluster.push({"task": "import_company_resources", "args": {"company_id": cluster.company_id}}, "queue:{longshore}")
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", calm) == 3, 20 * SLOWER,
               cluster.describe)
    wait_until(lambda: waiting(cluster, "guesty") == 1, 10 * SLOWER, cluster.describe)
    wait_until(lambda: cluster.redis.client.zcard("delayed:{longshore}") == 1, 10 * SLOWER, cluster.describe)
    assert worker.term() == 0
    cluster.worker(lane_bound=10000)
    wait_until(lambda: hasten(cluster) or cluster.busy(("longshore", "guesty", "calm")) == 0, 40, cluster.describe)
    for integration in (*busy, calm):
        assert cluster.one("SELECT count(*) FROM runs WHERE task = 'import_resources' AND integration_id = %s",
                           integration) == 1
    # All of it, the rest that was put off too, is one run.
    ended = "SELECT ended, descendants_done AS n FROM runs WHERE task = 'import_company_resources' AND root_id = id"
    wait_until(lambda: [r["ended"] for r in cluster.sql(ended)] == ["done"], 10 * SLOWER, lambda: str(cluster.sql(ended)))
    assert cluster.sql(ended)[0]["n"] >= 5


def photos_by_call(cluster):
    """Guesty without limits, its photos a call for each listing."""
    folder = cluster.folder / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["limits"], manifest["limit_headers"]
    photos = manifest["collections"]["photos"]
    del photos["embedded"]
    photos.update(get="/listings/{parent.id}/photos", records="data")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder.parent


def test_an_import_pauses_between_pages_while_the_lane_of_its_children_is_full(cluster):
    cluster.add_drivers(photos_by_call(cluster))
    sandbox = cluster.sandbox(listings=500, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker(lane_bound=1, concurrency=1)
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "pages"})
    worker.wait_for_log(r'event=job_later .*job=pages .*rule="lane bound"', 20 * SLOWER)
    assert cluster.one("SELECT state FROM runs WHERE task = 'import_resources'") == "running"
    cluster.wait_idle(50)
    assert cluster.one("SELECT count(*) FROM resources") == 500 and cluster.dead() == []
    assert cluster.one("SELECT state FROM runs WHERE task = 'import_resources'") == "done"
    asked = [e["path"] for e in sandbox.log(path="/photos")]
    assert len(asked) == len(set(asked)) == 500, "each listing's photos were asked for once"
    pages = [e["path"] for e in sandbox.log() if e["path"].startswith("/v1/listings?")]
    assert len(pages) == len(set(pages)), "no page was asked for twice"


def test_a_worker_that_dies_after_it_queued_a_pages_children_queues_them_no_second_time(cluster):
    cluster.add_drivers(photos_by_call(cluster))
    sandbox = cluster.sandbox(listings=200, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker(concurrency=1)
    worker.wait_for_log("event=started", 20 * SLOWER)
    with contextlib.closing(cluster.postgres.connect(cluster.database)) as connection:
        connection.autocommit = False
        connection.cursor().execute("LOCK TABLE checkpoints IN EXCLUSIVE MODE")  # where it stands is read, not stored
        cluster.push({"task": "import_resources", "integration_id": integration, "id": "pages"})
        wait_until(lambda: waiting(cluster, "guesty", "low") == 2, 20 * SLOWER, cluster.describe)
        locked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%checkpoints%'"
        wait_until(lambda: cluster.one(locked), 20 * SLOWER, cluster.describe)
        worker.kill9_child()
        # What it had sent would be carried out once the lock is gone, though nobody is there to hear of it.
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        connection.rollback()
    cluster.wait_idle(40)
    pages = [e["path"] for e in sandbox.log() if e["path"].startswith("/v1/listings?")]
    assert len(pages) == 3, "the page was read again"
    asked = [e["path"] for e in sandbox.log(path="/photos")]
    assert len(asked) == len(set(asked)) == 200, "each listing's photos were asked for once"
    assert cluster.one("SELECT count(*) FROM resources") == 200 and cluster.dead() == []


def skipped(scheduler):
    page = scheduler.get("/metrics").text
    found = [line for line in page.splitlines() if line.startswith("longshore_starts_skipped_total{")]
    return sum(float(line.split()[-1]) for line in found)


def test_a_start_over_the_bound_is_skipped_counted_and_made_up_for(cluster):
    sandbox = cluster.sandbox(listings=2, clean=True)
    cluster.integration(sandbox)
    for n in range(9):
        cluster.push({"task": "noop", "id": f"before-{n}"})
    cluster.longshore("pause", "--scheduling")  # until the scheduler has admitted them
    cluster.sql("INSERT INTO alerts (kind, severity, scope, what, todo) VALUES"
                " ('lane_bound', 'critical', 'guesty:low', 'an earlier leader found it so', '-')")
    scheduler = cluster.scheduler(import_every="4h", lane_bound=4)
    wait_until(lambda: waiting(cluster, "guesty") >= 9, 20 * SLOWER, scheduler.log_tail)
    # What fell due during the pause is not told of: it falls due behind it.
    wait_until(lambda: cluster.one("SELECT next_at IS NOT NULL FROM import_schedules"), 20 * SLOWER, scheduler.log_tail)
    falls_due = "UPDATE import_schedules SET next_at = now() + interval '%s s'"
    cluster.sql(falls_due % 3600)
    cluster.longshore("resume", "--scheduling")
    cluster.sql(falls_due % 1)
    wait_until(lambda: skipped(scheduler) == 1, 20 * SLOWER, scheduler.log_tail)
    wait_until(lambda: cluster.sql("SELECT 1 FROM alerts WHERE kind = 'lane_bound' AND scope = 'guesty' AND state = 'open'"),
               20 * SLOWER, scheduler.log_tail)
    assert scheduler.log_text().count("event=start_skipped") == 1
    assert waiting(cluster, "guesty") >= 9, "raw pushes are never refused"
    assert not scheduler.log_contains("event=beat ")
    worker = cluster.worker()
    worker.wait_for_log("event=job_done job=before-8", 20 * SLOWER)
    scheduler.wait_for_log("event=beat of=guesty starts=1", 20 * SLOWER)
    assert skipped(scheduler) == 1 and scheduler.log_text().count("event=start_skipped") == 1
    worker.wait_for_log(r"event=job_done .*task=import_resources", 20 * SLOWER)
    wait_until(lambda: cluster.one("SELECT count(*) FROM alerts WHERE kind = 'lane_bound' AND state = 'resolved'") == 2,
               20 * SLOWER, scheduler.log_tail)
