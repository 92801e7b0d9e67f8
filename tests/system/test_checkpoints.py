"""P6, B4: a place that the partner knows no more begins anew and says so; what is forced wins; of two imports that waited together one is enough."""

import itertools
import threading
import time

import pytest

from harness import wait_until
from harness.process import SLOWER
from harness.shelf import Shelf, add_shelf, shelf_manifest

PARTNERS = ("shelf", "longshore")


@pytest.fixture
def shelf(cluster, tmp_path):
    """shelf(partner, manifest) -> integration."""
    made = []

    def make(partner, manifest):
        add_shelf(cluster, tmp_path, manifest)
        made.append(partner)
        return cluster.integration(partner, partner="shelf", base="")

    yield make
    for one in made:
        one.close()


class Cursors(Shelf):
    """Ten pages; a cursor that was given in an epoch is refused in the next."""

    def __init__(self):
        super().__init__(range(100))
        self.epoch, self.hold_at, self.held, self.go = 1, 4, threading.Event(), threading.Event()

    def answer(self, path):
        cursor = path.split("cursor=")[1].split("&")[0] if "cursor=" in path else f"{self.epoch}.0"
        epoch, page = map(int, cursor.split("."))
        self.asked.append(cursor)
        if epoch != self.epoch:
            return 400, {"error": "this cursor is not known"}
        if page == self.hold_at and not self.go.is_set():
            self.held.set()
            self.go.wait(50)
        items = [self.items[str(i)] for i in range(page * 10, page * 10 + 10)]
        return 200, {"items": items, "next": f"{epoch}.{page + 1}" if page < 9 else None}


def test_a_cursor_that_is_known_no_more(cluster, shelf):
    partner = Cursors()
    manifest = shelf_manifest()
    manifest["pagination"] = {"kind": "cursor", "cursor_param": "cursor", "cursor": "next", "size": 10}
    integration = shelf(partner, manifest)
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{shelf}")
    assert partner.held.wait(20 * SLOWER), cluster.describe()
    partner.epoch = 2  # before whoever comes after it can ask
    worker.kill9_child()
    partner.go.set()
    cluster.wait_idle(40, PARTNERS)
    assert partner.asked[5:7] == ["1.4", "2.0"], "first where it was, then from the start"
    (run,) = cluster.sql("SELECT * FROM runs")
    assert run["state"] == "done" and "items: began anew: " in run["note"] and "this cursor is not known" in run["note"], run
    assert worker.log_contains("event=scan_began_anew")
    assert cluster.one("SELECT count(*) FROM resources WHERE deleted_at IS NULL") == 100
    assert cluster.redis.client.zcard("dead:{shelf}") == 0


def test_what_is_forced_wins_though_it_looks_older(cluster, shelf):
    """The partner's clock ran years ahead, and is right again."""
    partner = Shelf(range(3))
    integration = shelf(partner, shelf_manifest(updated_at="at"))
    cluster.worker()

    def scan(**args):
        cluster.push({"task": "import_resources", "integration_id": integration, "args": {"mode": "full", **args}}, "queue:{shelf}")
        cluster.wait_idle(30, PARTNERS)
        return cluster.sql("SELECT * FROM runs ORDER BY id DESC LIMIT 1")[0]

    for item in partner.items.values():
        item["at"] = "2099-01-01T00:00:00Z"
    scan()
    for item in partner.items.values():
        item |= {"at": "2026-11-01T00:00:00Z", "name": "right"}
    assert scan()["stale"] == 3
    assert cluster.one("SELECT count(*) FROM resources WHERE deleted_at IS NULL") == 3, "seen, though its news are old"
    assert scan(force=True)["updated"] == 3
    assert {r["name"] for r in cluster.sql("SELECT name FROM resources")} == {"right"}
    partner.items["1"] |= {"at": "2026-11-02T00:00:00Z", "name": "later"}
    assert scan()["updated"] == 1, "from then on as ever"


def test_of_two_that_waited_together_one_is_enough(cluster, shelf):
    partner = Shelf(range(60))
    asked, stored = itertools.count(1), threading.Event()
    # The second answer comes once the first page is stored, whoever asked: had both stored theirs at once, both would have begun.
    partner.spoil = lambda query: stored.wait(50) and None if next(asked) == 2 else time.sleep(0.15)
    integration = shelf(partner, shelf_manifest(size=10))
    cluster.scheduler()
    worker = cluster.make_worker(processes=2)
    for id in ("one", "other"):
        cluster.push({"task": "import_resources", "integration_id": integration, "id": id}, "queue:{shelf}")
    worker.start()

    wait_until(lambda: cluster.sql("SELECT 1 FROM checkpoints"), 40 * SLOWER, cluster.describe)
    stored.set()

    def is_over():
        client, now = cluster.redis.client, time.time() * 1000
        late = client.zrangebyscore("delayed:{shelf}", now + 2000, "+inf")
        if late:
            client.zadd("delayed:{shelf}", {m: now for m in late}, xx=True)
        return cluster.busy(PARTNERS) == 0

    wait_until(is_over, 40 * SLOWER, cluster.describe, 0.1)
    log = worker.log_text()
    assert log.count("event=job_done ") == 1 and log.count("event=job_superseded ") == 1, log
    assert [r["state"] for r in cluster.sql("SELECT state FROM runs")].count("done") == 1
