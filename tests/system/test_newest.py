"""P2, P5, P6: whatever order the news came in, and whatever died on the way, in the end Postgres is what the partner is.

Items are made, changed, taken away and put back at random while webhooks tell of it, full, incremental and single imports run into each
other, answers that were given long ago come late, and processes are killed.  Whenever it is quiet, and no news was lost or a full import has looked
last, each item is there as the partner has it, each part with it, and all that there was besides is marked deleted.  LONGSHORE_SEED draws another history, LONGSHORE_ROUNDS (8) a longer one."""

import contextlib
import json
import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from harness import wait_until
from harness.process import SLOWER
from harness.shelf import Shelf, add_shelf, shelf_manifest
from harness.webhooks import post, standard, whsec

PARTNERS = ("shelf", "longshore")
SEED, ROUNDS = int(os.environ.get("LONGSHORE_SEED", "1")), int(os.environ.get("LONGSHORE_ROUNDS", "8"))
QUIET_EVERY = 4


class News:
    """Tells of changes as partners do: late, in any order, some twice, some in vain, each one until it is taken in."""

    def __init__(self, rng, path, secret):
        self.rng, self.path, self.secret = rng, path, secret
        self.schedulers, self.n, self.lost_share, self.late_ms = [], 0, 0, 0
        self.threads, self.under_way, self.refused = ThreadPoolExecutor(16), [], []

    def tell(self, event, item, at):
        if self.rng.random() < self.lost_share:
            return
        self.n += 1
        ids = [self.n]
        if self.rng.random() < 0.3:  # once more: the same, or under another name
            ids.append(self.rng.choice((self.n, f"{self.n}-again")))
        for id in ids:
            body = json.dumps({"id": f"news-{id}", "event": event, "at": at, "item": item}).encode()
            self.under_way.append(self.threads.submit(self._send, body, self.rng.random() * self.late_ms / 1000))

    def _send(self, body, late_s):
        time.sleep(late_s)
        status, patience = 0, time.monotonic() + 20 * SLOWER
        while status != 202 and time.monotonic() < patience:
            for scheduler in self.schedulers:
                with contextlib.suppress(requests.RequestException):  # it was killed
                    status = post(scheduler, self.path, body, standard(self.secret, body, prefix="webhook-")).status_code
                if status == 202:
                    return
                if status not in (0, 503):
                    self.refused.append((status, body))
                    return
            time.sleep(0.05)
        self.refused.append((status, body))

    def wait(self):
        for one in self.under_way:
            one.result()
        self.under_way.clear()
        assert not self.refused, self.refused


class Changing(Shelf):
    """Its own clock never stands still, and an answer is what was true when it was asked for, however late it comes."""

    def __init__(self, rng, news):
        super().__init__()
        self.news = news
        self.rng, self.clock, self.late_ms, self.ever, self.parts_ever = rng, datetime.now(timezone.utc), 0, set(), set()

    def tick(self):
        self.clock = max(self.clock + timedelta(milliseconds=1), datetime.now(timezone.utc))
        return self.clock.isoformat(timespec="microseconds")

    def answer(self, path):
        at = urlsplit(path)
        query = {k: v[0] for k, v in parse_qs(at.query).items()}
        one = re.fullmatch(r"/items/(.+)", at.path)
        if one:
            item = self.items.get(one.group(1))
            answer = (200, dict(item)) if item else (404, {"error": "none"})
        else:
            items = sorted(list(self.items.values()), key=lambda i: (len(i["id"]), i["id"]))
            if "since" in query:
                since = datetime.fromisoformat(query["since"].replace("Z", "+00:00"))
                items = [i for i in items if datetime.fromisoformat(i["at"]) > since]
            skip, limit = int(query.get("skip", 0)), int(query.get("limit", 100))
            answer = 200, {"items": items[skip:skip + limit], "total": len(items)}
        if self.late_ms and self.rng.random() < 0.4:
            time.sleep(self.rng.random() * self.late_ms / 1000)
        return answer

    def put(self, id):
        parts = [{"id": f"{id}-{n}", "url": f"https://example.com/{n}"} for n in self.rng.sample(range(6), self.rng.randrange(4))]
        self.items[id] = {"id": id, "name": f"name {self.rng.random()}", "at": self.tick(), "parts": parts}
        self.ever.add(id)
        self.parts_ever |= {p["id"] for p in parts}
        self.news.tell(self.rng.choice(("item.changed", "item.stored")), self.items[id], self.items[id]["at"])

    def mutate(self):
        what = self.rng.random()
        there = sorted(self.items)
        gone = sorted(self.ever - set(there))
        if what < 0.5 and there:
            self.put(self.rng.choice(there))
        elif what < 0.7 and len(there) > 5:
            id = self.rng.choice(there)
            del self.items[id]
            self.news.tell("item.gone", {"id": id}, self.tick())
        elif what < 0.8 and gone:
            self.put(self.rng.choice(gone))
        else:
            self.put(str(len(self.ever)))


def manifest():
    made = shelf_manifest(size=7, updated_at="at", detail={"get": "/items/{id}"},
                          incremental={"param": "since", "format": "iso8601_ms", "overlap": "2s"})
    # Calls of a process that was killed hold their places until they are over for sure.
    made["api"]["concurrency"] = {"partner": 500, "integration": 500}
    made["collections"]["parts"] = {
        "each": "items", "embedded": "parts", "id": "id", "table": "media", "deletes": "scan_of_parent",
        "map": {"kind": {"const": "part"}, "url": {"path": "url", "as": "url", "required": True}}}
    made["webhooks"] = {
        "verify": {"scheme": "standard_webhooks", "prefix": "webhook-"}, "event": "event", "event_id": "id", "happened_at": "at",
        "events": {f"item.{name}": {"collection": "items", "id": "item.id", "do": do}
                   for name, do in (("changed", "fetch"), ("stored", "upsert"), ("gone", "delete"))}}
    return made


def differences(cluster, partner):
    rows = {r["external_id"]: r for r in cluster.sql("SELECT * FROM resources")}
    media = {r["external_id"]: r for r in cluster.sql("SELECT * FROM media")}
    parts = {p["id"] for i in partner.items.values() for p in i["parts"]}
    found = []
    for id, item in partner.items.items():
        row = rows.get(id)
        if not row or row["deleted_at"] or row["name"] != item["name"] or row["partner_updated_at"] != datetime.fromisoformat(item["at"]):
            found.append((id, item, row))
    found += [("is gone", id, r) for id, r in rows.items() if id not in partner.items and not r["deleted_at"]]
    found += [("part is missing", id) for id in parts if id not in media or media[id]["deleted_at"]]
    found += [("part is gone", id, r["observed_at"]) for id, r in media.items() if id not in parts and not r["deleted_at"]]
    return found


def wait_quiet(cluster, seconds):
    """Who waits for its turn, or to be tried again, does so now."""
    client = cluster.redis.client

    def quiet():
        now = time.time() * 1000
        late = client.zrangebyscore("delayed:{shelf}", now + 500, "+inf")
        if late:
            client.zadd("delayed:{shelf}", {m: now for m in late}, xx=True)
        return cluster.busy(PARTNERS) == 0

    wait_until(quiet, seconds, lambda: cluster.describe(), 0.05)


@pytest.mark.timeout(90 * SLOWER + 10 * ROUNDS)
def test_postgres_becomes_what_the_partner_is(cluster, tmp_path):
    rng, secret = random.Random(SEED), whsec()
    add_shelf(cluster, tmp_path, manifest())
    news = News(rng, "/webhooks/shelf/1", secret)
    with contextlib.closing(Changing(rng, news)) as partner:
        words = ("--company", cluster.company(), "--partner", "shelf", "--base-url", partner.url, "--set", "deletes_brake=1")
        integration = int(cluster.longshore("integration", "add", *words, "--credentials", "-",
                                            input=json.dumps({"webhook_secret": secret})).out.split()[-1])
        news.path = f"/webhooks/shelf/{integration}"
        news.schedulers = [cluster.scheduler() for _ in range(2)]
        workers = [cluster.worker(partners="shelf,longshore") for _ in range(2)]
        for worker in workers:
            worker.wait_for_log("event=started", 20 * SLOWER)
        for id in range(30):
            partner.put(str(id))

        def push(task="import_resources", **args):
            cluster.push({"task": task, "integration_id": integration, "args": args}, "queue:{shelf}")

        def kill():
            if rng.random() < 0.7:
                with contextlib.suppress(IndexError, ProcessLookupError):
                    rng.choice(workers).kill9_child()
            else:
                scheduler = rng.choice(news.schedulers)
                scheduler.kill9()
                scheduler.start()

        for n in range(ROUNDS):
            partner.late_ms, news.late_ms = 60, 150
            for _ in range(12):
                for _ in range(rng.randrange(3)):
                    partner.mutate()
                what = rng.random()
                if what < 0.15:
                    push(mode="full")
                elif what < 0.3:
                    push(mode="incremental")
                elif what < 0.6:
                    push("import_resource", external_id=rng.choice(sorted(partner.ever)))
                elif what < 0.7:
                    kill()
                time.sleep(rng.random() * 0.03)  # how the history goes, not what it waits for
            if (n + 1) % QUIET_EVERY:
                continue
            news.wait()
            wait_quiet(cluster, 25 * SLOWER)
            if not news.lost_share:  # an event whose record comes after all is looked at again within seconds
                wait_until(lambda: not differences(cluster, partner), 20 * SLOWER,
                           lambda: f"LONGSHORE_SEED={SEED}, round {n + 1}, by news alone: {differences(cluster, partner)}")
            push(mode="full")
            wait_quiet(cluster, 25 * SLOWER)
            assert not differences(cluster, partner), f"LONGSHORE_SEED={SEED}, after round {n + 1}"
            news.lost_share = 0 if news.lost_share else 0.2
        letters = [json.loads(m) for m in cluster.redis.client.zrange("dead:{shelf}", 0, -1)]
        assert all(l["class"] == "client" and l["rule"] == "404" for l in letters), letters
        events = {r["state"]: r["n"] for r in cluster.sql("SELECT state, count(*) AS n FROM webhook_events GROUP BY 1")}
        assert set(events) <= {"done", "coalesced", "stale", "unmatched"} and events["done"] > ROUNDS, events
        broken = cluster.sql("SELECT external_id FROM resources r WHERE version <> (SELECT max(version) FROM resource_changes c"
                             " WHERE c.integration_id = r.integration_id AND c.external_id = r.external_id)")
        assert not broken, "the history has each version"
