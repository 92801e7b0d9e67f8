"""What becomes of events that partners told us of, from the job that the way in makes to the row in Postgres."""

import itertools
import json
import re
import shutil
import time

import pytest
import requests

from harness.process import ROOT, lease_port, wait_until
from harness.webhooks import post, standard, whsec


class Events:
    """Events of one integration, as the scheduler queues them."""

    def __init__(self, cluster, integration):
        self.cluster = cluster
        self.integration = integration
        self.n = 0

    def now_us(self):
        seconds, us = self.cluster.redis.client.time()
        return seconds * 1000000 + us

    def job(self, event, body, happened_us=None, received_us=None, believed=True, event_id=None, integration=None):
        self.n += 1
        event_id = event_id or f"evt-{integration or self.integration}-{self.n}"
        args = {"event": event, "event_id": event_id, "received_us": received_us or self.now_us(), "believed": believed,
                "body": {"event": event, **body}}
        if happened_us:
            args["happened_us"] = happened_us
        return {"task": "process_webhook", "integration_id": integration or self.integration, "id": f"wh-{event_id}", "args": args}

    def send(self, event, body, **more):
        job = self.job(event, body, **more)
        self.cluster.push(job)
        return job["args"]["event_id"]

    def row(self, event_id):
        rows = self.cluster.sql("SELECT * FROM webhook_events WHERE event_id = %s", event_id)
        return rows[0] if rows else None

    def state(self, event_id, wanted, timeout=20):
        wait_until(lambda: (self.row(event_id) or {}).get("state") == wanted, timeout,
                   lambda: f"{event_id} to be {wanted}: {self.row(event_id)}\n{self.cluster.describe()}")
        return self.row(event_id)


@pytest.fixture
def guesty(cluster, tmp_path):
    """Changes the events of the manifest that the next worker reads."""
    folder = tmp_path / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    cluster.add_drivers(folder.parent)

    def write(change):
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return manifest

    return write


def listing(cluster, id):
    rows = cluster.sql("SELECT name, version, observed_at, partner_updated_at, deleted_at IS NOT NULL AS gone FROM resources WHERE external_id = %s", id)
    return rows[0] if rows else None


def test_events_become_rows(cluster):
    sandbox = cluster.sandbox(listings=30, clean=True, limits="none", latency="1ms")
    events = Events(cluster, cluster.integration(sandbox))
    address = f"127.0.0.1:{lease_port()}"
    worker = cluster.worker(metrics=address)
    id = sandbox.items("listing")[0]["id"]
    first = events.send("listing.new", {"listing": {"_id": id}})
    row = events.state(first, "done")
    assert (row["action"], row["collection"], row["external_id"], row["partner"]) == ("fetch", "listings", id, "guesty")
    assert row["body"]["listing"]["_id"] == id and row["processed_at"] >= row["received_at"]
    assert listing(cluster, id)["version"] == 1
    assert cluster.one("SELECT count(*) FROM media WHERE resource_external_id = %s", id) > 0
    assert cluster.one("SELECT count(*) FROM runs") == 0

    sandbox.update(id, nickname="Seagull's Rest")
    events.state(events.send("listing.updated", {"listing": {"_id": id}}), "done")
    assert listing(cluster, id)["name"] == "Seagull's Rest"
    # The row was read after that event came in, or so it says: no call.
    calls = len(sandbox.log(path="/v1/listings"))
    old = events.send("listing.updated", {"listing": {"_id": id}}, received_us=events.now_us() - 3600 * 1000000)
    events.state(old, "coalesced")
    assert len(sandbox.log(path="/v1/listings")) == calls

    # News of before that came later, and was done first: the item is there.
    now = events.now_us()
    events.state(events.send("listing.removed", {"listingId": id}, happened_us=now), "done")
    assert listing(cluster, id)["gone"] and cluster.one("SELECT count(*) FROM media WHERE deleted_at IS NULL") == 0
    events.state(events.send("listing.updated", {"listing": {"_id": id}}, happened_us=now + 1000, received_us=now - 1000), "done")
    assert not listing(cluster, id)["gone"] and cluster.one("SELECT count(*) FROM media WHERE deleted_at IS NULL") > 0

    # A deletion older than what is held is none; a newer one is; an update that comes after it finds none at the partner.
    stale = events.send("listing.removed", {"listingId": id}, received_us=events.now_us() - 3600 * 1000000)
    events.state(stale, "stale")
    sandbox.remove(id)
    events.state(events.send("listing.removed", {"listingId": id}), "done")
    assert listing(cluster, id)["gone"]
    changes = cluster.sql("SELECT what, source, changes FROM resource_changes WHERE external_id = %s ORDER BY version", id)
    assert [(c["what"], c["source"]) for c in changes] == [(what, "webhook") for what in ("added", "updated", "deleted", "undeleted", "deleted")]
    assert changes[-1]["changes"]["deleted_at"][0] is None
    late = events.state(events.send("listing.updated", {"listing": {"_id": id}}), "done")
    assert "marked deleted" in late["reason"] and listing(cluster, id)["gone"]

    events.state(events.send("listing.repainted", {"listing": {"_id": id, "secret": 1}}), "unknown")
    nobody = events.state(events.send("listing.updated", {"listing": {"title": "no id"}}), "failed")
    assert "no id" in nobody["reason"]
    for wrong in ({}, {"event_id": "x"}, {"event_id": "x", "event": "y", "body": 1}):
        cluster.push({"task": "process_webhook", "integration_id": events.integration, "args": wrong})
    wait_until(lambda: len(cluster.dead()) == 4, 20)
    assert sorted(letter["class"] for letter in cluster.dead()) == ["bad_job", "bad_job", "bad_job", "data"]
    metrics = requests.get(f"http://{address}/metrics", timeout=30).text
    assert 'webhooks_processed_total{partner="guesty",state="coalesced"} 1' in metrics
    assert re.search(r'webhook_failures_total\{[^}]*error_type="data"[^}]*\} 1$', metrics, re.MULTILINE), metrics
    assert 'webhook_processing_seconds_count{partner="guesty"} 10' in metrics
    worker.stop()


def test_many_events_of_one_item_take_few_calls(cluster):
    sandbox = cluster.sandbox(listings=30, clean=True, limits="none", latency="300ms")
    events = Events(cluster, cluster.integration(sandbox))
    ids = [item["id"] for item in sandbox.items("listing")][:2]
    # Two names for one change, as partners send them that have renamed their events.
    jobs = [events.job(("listing.updated", "listing.new")[n % 2], {"listing": {"_id": ids[0]}}) for n in range(60)]
    jobs += [events.job("listing.updated", {"listing": {"_id": "nobody-has-this"}}) for _ in range(20)]
    for job in jobs:
        cluster.push(job)
    workers = [cluster.worker(), cluster.worker(), cluster.scheduler()]
    wait_until(lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE state IN ('done', 'coalesced')") == 60, 30, cluster.describe)
    calls = [c["path"].split("?")[0].rsplit("/", 1)[1] for c in sandbox.log(path="/v1/listings/")]
    assert calls.count(ids[0]) == 1, calls
    assert cluster.one("SELECT count(*) FROM webhook_events WHERE state = 'coalesced'") == 59
    assert calls.count("nobody-has-this") < 10, calls
    # One that comes while the item is being read is not covered by that call.
    first = events.send("listing.updated", {"listing": {"_id": ids[1]}})
    wait_until(lambda: sandbox.log(path=ids[1]), 10)
    second = events.send("listing.updated", {"listing": {"_id": ids[1]}})
    assert {events.state(first, "done")["state"], events.state(second, "done")["state"]} == {"done"}
    assert len(sandbox.log(path=ids[1])) == 2
    for worker in workers:
        worker.stop()


def test_events_wait_for_their_record(cluster, guesty):
    guesty(lambda m: m["webhooks"]["events"].update({"listing.gone": {"collection": "listings", "id": "listingId", "do": "delete"}}))
    sandbox = cluster.sandbox(listings=30, clean=True, limits="none", latency="1ms")
    events = Events(cluster, cluster.integration(sandbox))
    worker, scheduler = cluster.worker(), cluster.scheduler()
    item = sandbox.items("listing")[3]["item"] | {"_id": "f00d00000000000000000001"}
    early = events.send("listing.new", {"listing": {"_id": item["_id"]}})
    waiting = events.state(early, "waiting")
    assert waiting["reason"] == "the partner does not know it (yet)"
    # Deleted before anybody here had seen it, by an event that came in after the page which brings it was asked for.
    gone = events.send("listing.gone", {"listingId": item["_id"]}, received_us=events.now_us() + 3600 * 1000000)
    make_due(cluster, lambda: (events.row(early) or {}).get("state") == "unmatched" and (events.row(gone) or {}).get("state") == "unmatched")
    assert cluster.queue()["delayed"] == 0 and not cluster.dead()
    sandbox.control("POST", "/update", {"account": "acct-1", "append": item, "noun": "listing"})
    cluster.push({"task": "import_resources", "integration_id": events.integration})
    # Who leads, and who wrote the row, die before anybody has looked whether it was waited for.
    scheduler.kill9()
    wait_until(lambda: listing(cluster, item["_id"]), 20, cluster.describe)
    worker.kill9()
    worker, scheduler = cluster.worker(), cluster.scheduler()
    assert events.state(early, "coalesced")["attempts"] >= 5
    events.state(gone, "done")
    assert listing(cluster, item["_id"])["gone"]
    scheduler.stop()
    worker.stop()


def make_due(cluster, until):
    """What waits for a while waits no longer."""
    def look():
        for member, _ in cluster.redis.client.zscan_iter("delayed:{guesty}"):
            cluster.redis.client.zadd("delayed:{guesty}", {member: 1}, xx=True)
        return until()

    wait_until(look, 30, cluster.describe, every=0.1)


def test_order_of_arrival_does_not_matter(cluster, guesty):
    """Events of one listing in any order, each twice: what the partner has in the end is what is here."""
    guesty(lambda m: m["webhooks"]["events"].update({
        "made": {"collection": "listings", "id": "listing._id", "do": "upsert"},
        "changed": {"collection": "listings", "id": "listing._id", "do": "upsert"},
        "gone": {"collection": "listings", "id": "listing._id", "do": "delete"}}))
    sandbox = cluster.sandbox(listings=1, clean=True, limits="none", latency="1ms")
    events = Events(cluster, cluster.integration(sandbox))
    worker, scheduler = cluster.worker(), cluster.scheduler()
    item = sandbox.items("listing")[0]["item"]
    base_us = events.now_us() - 60 * 1000000
    wanted, plans = {}, {}
    for number, order in enumerate(itertools.permutations(range(3))):
        for ends_deleted in (False, True):
            id = f"{number:02d}{'d' if ends_deleted else 'c'}"
            last = ("gone", None) if ends_deleted else ("changed", "three")
            plans[id] = [(place, *[("made", "one"), ("changed", "two"), last][place]) for place in order + order[:2]]
            wanted[id] = None if ends_deleted else "three"
    for step in range(5):  # of each listing one event after the other, of all listings side by side
        for id, plan in plans.items():
            place, name, nickname = plan[step]
            happened = base_us + place * 1000000
            body = {"listing": {**item, "_id": id, "nickname": nickname, "lastUpdatedAt": iso(happened)}}
            events.send(name, body, happened_us=happened, event_id=f"{id}-{step}")
        wait_until(lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE event_id LIKE %s AND state <> 'received'", f"%-{step}") == len(plans),
                   20, cluster.describe)
    # What waits for its record is done as soon as the record is there.
    make_due(cluster, lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE state IN ('received', 'waiting')") == 0)
    assert cluster.one("SELECT max(attempts) FROM webhook_events WHERE action = 'delete'") > 1  # of what was not there yet
    found = {r["external_id"]: None if r["gone"] else r["name"]
             for r in cluster.sql("SELECT external_id, name, deleted_at IS NOT NULL AS gone FROM resources")}
    assert found == wanted, cluster.sql("SELECT event_id, event, state, reason FROM webhook_events ORDER BY received_at")
    # One of a clock that is years ahead shuts out nothing that comes after it.
    id = next(id for id, name in wanted.items() if name)
    events.state(events.send("gone", {"listing": {"_id": id}}, happened_us=events.now_us() * 2), "done", 50)
    assert listing(cluster, id)["gone"]
    now = events.now_us()
    events.state(events.send("changed", {"listing": {**item, "_id": id, "lastUpdatedAt": iso(now)}}, happened_us=now), "done", 50)
    assert not listing(cluster, id)["gone"] and not cluster.dead()
    worker.stop()
    scheduler.stop()


def iso(us):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 1000000)) + f".{us // 1000 % 1000:03d}Z"


def test_storm_of_one_customer_slows_no_other(cluster):
    """1,000 events of one integration stand before those of another, whose rows are there long before the storm is over."""
    sandbox = cluster.sandbox(listings=20, clean=True, limits="none", latency="30ms")
    noisy = Events(cluster, cluster.integration(sandbox))
    quiet = Events(cluster, cluster.integration(sandbox, account="acct-2"))
    ids = [item["id"] for item in sandbox.items("listing")]
    jobs = [json.dumps(noisy.job("listing.updated", {"listing": {"_id": ids[n % 20]}})) for n in range(1000)]
    cluster.redis.client.lpush("queue:{guesty}", *jobs)
    for item in sandbox.items("listing", account="acct-2")[:10]:
        quiet.send("listing.updated", {"listing": {"_id": item["id"]}})
    worker, scheduler = cluster.worker(), cluster.scheduler()
    ended = "SELECT count(*) FROM webhook_events WHERE integration_id = %s AND state IN ('done', 'coalesced')"
    wait_until(lambda: cluster.one(ended, quiet.integration) == 10 and cluster.one(ended, noisy.integration) == 1000, 50, cluster.describe)
    before = cluster.one("SELECT count(*) FROM webhook_events WHERE integration_id = %s AND processed_at <"
                         " (SELECT max(processed_at) FROM webhook_events WHERE integration_id = %s)", noisy.integration, quiet.integration)
    assert before < 500, before
    assert len(sandbox.log(account="acct-1", path="/v1/listings/")) <= 60
    worker.stop()
    scheduler.stop()


def test_events_about_credentials(cluster, guesty):
    guesty(lambda m: m["webhooks"]["events"].update({
        "app.revoked": {"do": "auth_revoked"},
        "keys.changed": {"do": "credentials_rotated", "credentials": {"client_id": "keys.id", "client_secret": "keys.secret"}}}))
    sandbox = cluster.sandbox(listings=3, clean=True, limits="none", latency="1ms")
    events = Events(cluster, cluster.integration(sandbox))
    signs = whsec()
    cluster.longshore("integration", "rotate", events.integration, "--credentials", "-",
                      input=json.dumps({"client_id": "acct-1", "client_secret": "secret-1", "webhook_secret": signs}))
    worker, scheduler = cluster.worker(), cluster.scheduler()
    status = "SELECT status FROM integrations WHERE id = %s"
    # The account's new number: what is fetched from then on is that one's.
    good = events.state(events.send("keys.changed", {"keys": {"id": "acct-7", "secret": "secret-7"}}), "done")
    assert good["body"] is None
    bad = events.state(events.send("keys.changed", {"keys": {"id": "acct-7", "secret": "wrong-secret-9"}}), "failed")
    assert "refused" in bad["reason"] and "wrong-secret" not in bad["reason"]
    (alert,) = cluster.sql("SELECT * FROM alerts WHERE kind = 'credentials_rotation' AND state = 'open'")
    assert "wrong-secret" not in alert["what"] and not cluster.dead()
    assert "wrong-secret" not in worker.log_text() and "secret-7" not in worker.log_text()
    assert cluster.longshore("integration", "verify", events.integration).out.strip().endswith("valid")
    # Not believed, older than the credentials, and neither.
    events.state(events.send("app.revoked", {}, believed=False), "ignored")
    events.state(events.send("app.revoked", {}, happened_us=events.now_us() - 3600 * 1000000), "stale")
    assert cluster.one(status, events.integration) == "active"
    events.state(events.send("app.revoked", {}), "done")
    assert cluster.one(status, events.integration) == "auth_broken"
    assert "revoked" in cluster.one("SELECT what FROM alerts WHERE kind = 'auth_broken'")
    # Its jobs wait for new credentials; those that the partner sends do not wait with them.
    waits = events.send("listing.new", {"listing": {"_id": sandbox.items("listing", account="acct-8")[0]["id"]}})
    body = json.dumps({"event": "keys.changed", "keys": {"id": "acct-8", "secret": "secret-8"}}).encode()
    # While they wait they lie nowhere in Redis as they are.
    cluster.longshore("pause", "guesty")
    assert post(scheduler, f"/webhooks/guesty/{events.integration}", body, standard(signs, body, id="msg_mends")).status_code == 202
    (job,) = cluster.redis.client.zrange("ready:{guesty}:high", 0, -1)
    assert b"msg_mends" in job and b'"sealed":"v1.' in job and b"secret-8" not in job and b"acct-8" not in job
    cluster.longshore("resume", "guesty")
    events.state("msg_mends", "done", 50)
    events.state(waits, "done", 50)
    assert cluster.one(status, events.integration) == "active"
    assert cluster.one("SELECT state FROM alerts WHERE kind = 'auth_broken'") == "resolved"
    worker.stop()
    scheduler.stop()


def test_replay_and_a_redis_that_lost_everything(cluster):
    sandbox = cluster.sandbox(listings=5, clean=True, limits="none", latency="1ms")
    events = Events(cluster, cluster.integration(sandbox))
    ids = [item["id"] for item in sandbox.items("listing")]
    worker, scheduler = cluster.worker(), cluster.scheduler()
    sandbox.fault(match="GET /v1/listings/", status=400, times=1)
    failed = events.send("listing.updated", {"listing": {"_id": ids[0]}})
    assert "400" in events.state(failed, "failed")["reason"]
    assert cluster.one("SELECT health FROM integration_health") in ("degraded", "new")
    assert cluster.one("SELECT count(*) FROM dead_letter_patterns WHERE source = 'webhook'") == 1
    assert cluster.longshore("webhook", "replay", "--since", "1h", "--json").json() == {"replayed": 1}
    assert events.state(failed, "done")["attempts"] == 2
    assert cluster.longshore("webhook", "replay", "--since", "1h", "--json").json() == {"replayed": 0}
    assert cluster.longshore("webhook", "replay", failed, "--json").json() == {"replayed": 1}
    events.state(failed, "coalesced")
    assert cluster.longshore.run("webhook", "replay", "no-such-event").code == 3
    assert cluster.longshore.run("webhook", "replay").code == 2

    # One that waits for its partner when all of Redis goes.
    sandbox.fault(match="GET /v1/listings/", status=503, times=20)
    open_one = events.send("listing.updated", {"listing": {"_id": ids[1]}})
    wait_until(lambda: cluster.queue()["delayed"] + cluster.queue()["held"] >= 1, 30, cluster.describe)
    for member in cluster.redis.client.zrange("delayed:{guesty}", 0, -1):  # not due by itself just now, at a partner that is well again
        cluster.redis.client.zadd("delayed:{guesty}", {member: (1 + events.now_us() // 1000) + 3_600_000}, xx=True)
    wait_until(lambda: cluster.redis.client.hlen("flight:{guesty}") == 0, 30, cluster.describe)
    assert events.row(open_one)["state"] == "received"
    sandbox.clear_faults()
    cluster.redis.client.flushall()
    assert events.state(open_one, "done", 50)
    assert scheduler.log_text().count("event=webhooks_rebuilt") == 1
    worker.stop()
    scheduler.stop()
