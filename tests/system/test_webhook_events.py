"""What becomes of events that partners told us of, from the job that the way in makes to the row in Postgres."""

import itertools
import json
import re
import shutil
import time

import pytest
import requests

from harness.process import ROOT, lease_port, wait_until


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

    # A deletion older than what is held is none; a newer one is; an update that comes after it finds none at the partner.
    stale = events.send("listing.removed", {"listingId": id}, received_us=events.now_us() - 3600 * 1000000)
    events.state(stale, "stale")
    sandbox.remove(id)
    events.state(events.send("listing.removed", {"listingId": id}), "done")
    assert listing(cluster, id)["gone"]
    changes = cluster.sql("SELECT what, source, changes FROM resource_changes WHERE external_id = %s ORDER BY version", id)
    assert [(c["what"], c["source"]) for c in changes] == [("added", "webhook"), ("updated", "webhook"), ("deleted", "webhook")]
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
    metrics = requests.get(f"http://{address}/metrics", timeout=5).text
    assert 'webhooks_processed_total{partner="guesty",state="coalesced"} 1' in metrics
    assert re.search(r'webhook_failures_total\{[^}]*error_type="data"[^}]*\} 1$', metrics, re.MULTILINE), metrics
    assert 'webhook_processing_seconds_count{partner="guesty"} 8' in metrics
    worker.stop()


def test_many_events_of_one_item_take_few_calls(cluster):
    sandbox = cluster.sandbox(listings=30, clean=True, limits="none", latency="300ms")
    events = Events(cluster, cluster.integration(sandbox))
    ids = [item["id"] for item in sandbox.items("listing")][:2]
    jobs = [events.job("listing.updated", {"listing": {"_id": ids[0]}}) for _ in range(60)]
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


@pytest.mark.parametrize("killed", [False, True])
def test_events_wait_for_their_record(cluster, guesty, killed):
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
    if killed:  # who leads, and who wrote the row, before anybody has looked whether it was waited for
        scheduler.kill9()
    wait_until(lambda: listing(cluster, item["_id"]), 20, cluster.describe)
    if killed:
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
    wanted = {}
    for number, order in enumerate(itertools.permutations(range(3))):
        for ends_deleted in (False, True):
            id = f"{number:02d}{'d' if ends_deleted else 'c'}"
            news = [("made", "one"), ("changed", "two"), ("gone", None) if ends_deleted else ("changed", "three")]
            sent = []
            for place in order + order[:2]:
                name, nickname = news[place]
                happened = base_us + place * 1000000
                body = {"listing": {**item, "_id": id, "nickname": nickname, "lastUpdatedAt": iso(happened)}}
                sent.append(events.send(name, body, happened_us=happened, event_id=f"{id}-{len(sent)}"))
                if place == 2 and ends_deleted and len(sent) == 1:
                    events.state(sent[0], "waiting")  # nothing is there that could be deleted
                else:
                    wait_until(lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE event_id = %s AND state NOT IN ('received')", sent[-1]), 20, cluster.describe)
            wanted[id] = None if ends_deleted else "three"
    # What waits for its record is done as soon as the record is there.
    make_due(cluster, lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE state IN ('received', 'waiting')") == 0)
    found = {r["external_id"]: None if r["gone"] else r["name"]
             for r in cluster.sql("SELECT external_id, name, deleted_at IS NOT NULL AS gone FROM resources")}
    assert found == wanted, cluster.sql("SELECT event_id, event, state, reason FROM webhook_events ORDER BY received_at")
    assert not cluster.dead()
    worker.stop()
    scheduler.stop()


def iso(us):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 1000000)) + f".{us // 1000 % 1000:03d}Z"
