"""Imports that meet, and imports for some parents that go on where they were."""

import json
import shutil
import time
from collections import Counter
from urllib.parse import quote

import pytest

from harness import wait_until
from harness.guesty import differences, expected, listing_row, photo_rows
from harness.process import ROOT, SLOWER


def test_two_imports_of_one_integration_both_end(cluster):
    """They take turns: who finds the other one scanning waits, and neither sends the other back again and again."""
    sandbox = cluster.sandbox(listings=300, reservations=250, clean=True, limits="none", latency="150ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    ids = ("one", "other")
    for id in ids:  # both are there when the first is claimed
        cluster.push({"task": "import_resources", "integration_id": integration, "id": id})
    worker = cluster.worker(processes=2)

    def is_over():  # who waits for its turn looks again now, not in five seconds
        client, now = cluster.redis.client, time.time() * 1000
        late = client.zrangebyscore("delayed:{guesty}", now + 2000, "+inf")
        if late:
            client.zadd("delayed:{guesty}", {m: now for m in late}, xx=True)
        return cluster.busy() == 0

    wait_until(is_over, 40 if SLOWER == 1 else 54, cluster.describe, 0.1)
    log = worker.log_text()
    assert "rule=taken" in log, "they met"
    for id in ids:
        assert f"event=job_done job={id} " in log or f"event=job_superseded job={id} " in log, log
    rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("listing"), listing_row)[0])
    assert cluster.one("SELECT count(*) FROM transactions") == 250 and cluster.dead() == []
    pages = Counter(e["path"] for e in sandbox.log(path="/v1/listings?"))
    assert max(pages.values()) <= 4, f"no page again and again: {pages}"
    states = {r["state"] for r in cluster.sql("SELECT state FROM runs")}
    assert states == {"done"}


@pytest.fixture
def photos_by_call(cluster, tmp_path):
    """Guesty as if its photos cost a call each."""
    folder = tmp_path / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    photos = manifest["collections"]["photos"]
    del photos["embedded"]
    photos |= {"get": "/listings/{parent.id}/photos", "records": "data"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)


def test_an_import_for_parents_goes_on_where_it_was(cluster, photos_by_call):
    """At its soft limit, and given back by a worker that stops: no parent is asked for twice, none is left out."""
    sandbox = cluster.sandbox(listings=40, clean=True, limits="none", latency="60ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    items = sandbox.items("listing")
    first = cluster.worker(soft_limit="400ms")
    cluster.push({"task": "import_media", "integration_id": integration, "id": "photos",
                  "args": {"collection": "photos", "parents": [i["id"] for i in items]}})
    wait_until(lambda: first.log_text().count("event=job_goes_on") >= 2, 30 * SLOWER, first.log_tail)
    assert cluster.busy() == 1, "it is under way"
    assert first.term() == 0
    second = cluster.worker(soft_limit="400ms")
    cluster.wait_idle(40)
    assert second.log_contains("event=job_done job=photos")
    asked = Counter(e["path"].split("/")[3] for e in sandbox.log(path="/photos"))
    assert asked == Counter(i["id"] for i in items), "each parent once"
    rows = {r["external_id"]: r for r in cluster.sql("SELECT * FROM media WHERE integration_id = %s", integration)}
    wanted = {r["external_id"] for i in items for r in photo_rows(i["item"])[0] if "external_id" in r}
    assert set(rows) == wanted and all(r["version"] == 1 for r in rows.values()) and cluster.dead() == []
    (run,) = cluster.sql("SELECT state, processed FROM runs WHERE task = 'import_media'")
    assert run["state"] == "done", "all attempts are one run"


def test_columns_of_a_parent_are_filled_in(cluster, photos_by_call, tmp_path):
    """Read from the parent's row; one whose column is null is set aside, and the others go on."""
    file = tmp_path / "drivers" / "guesty" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["collections"]["photos"]["query"] = {"town": "{parent.city}"}
    file.write_text(json.dumps(manifest))
    sandbox = cluster.sandbox(listings=4, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    cluster.wait_idle(40)
    towns = {r["external_id"]: r["city"] for r in cluster.sql("SELECT external_id, city FROM resources")}
    assert len(towns) == 4 and all(towns.values())
    asked = {e["path"].split("/")[3]: e["path"] for e in sandbox.log(path="/photos")}
    assert set(asked) == set(towns)
    assert all(f"?town={quote(town, safe='')}&" in asked[id] for id, town in towns.items()), (asked, towns)
    nowhere = min(towns)
    cluster.sql("UPDATE resources SET city = NULL WHERE external_id = %s", nowhere)
    cluster.push({"task": "import_media", "integration_id": integration,
                  "args": {"collection": "photos", "parents": [*sorted(towns), "unknown"]}})
    parents = "SELECT parent_id, reason FROM rejected_items WHERE field IS NULL"
    wait_until(lambda: len(cluster.sql(parents)) == 2, 30 * SLOWER, cluster.describe)
    reasons = {r["parent_id"]: r["reason"] for r in cluster.sql(parents)}
    assert "{parent.city} is null" in reasons[nowhere] and "unknown is not stored" in reasons["unknown"]
    cluster.wait_idle(40)
    assert len(sandbox.log(path="/photos")) == 7 and cluster.dead() == []


def test_what_redis_lost_of_an_import_is_asked_for_again(cluster, photos_by_call, tmp_path):
    """The items look unchanged by then, and photos are only asked for of those that changed."""
    file = tmp_path / "drivers" / "guesty" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["collections"]["listings"]["map"]["media_hash"] = {"hash": "pictures[*]._id"}
    manifest["collections"]["photos"]["when_changed"] = "media_hash"
    file.write_text(json.dumps(manifest))
    sandbox = cluster.sandbox(listings=3, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    sandbox.fault(match="/photos", status=503)
    cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: cluster.redis.client.zcard("delayed:{guesty}"), 30 * SLOWER, cluster.describe)
    cluster.redis.client.flushall()
    sandbox.clear_faults()
    (lost,) = cluster.sql("UPDATE runs SET updated_at = now() - interval '1 hour' WHERE home IS NOT NULL AND ended_at IS NULL RETURNING id")
    long_ago = "UPDATE runs SET updated_at = now() - interval '1 hour'"
    # Nobody has pushed it: it waits while the lane is at its bound.
    held = cluster.integration(sandbox, "acct-2")
    cluster.longshore("integration", "pause", held)
    cluster.push({"task": "noop", "integration_id": held})
    cluster.sql(long_ago)
    full = cluster.scheduler(lane_bound=1)
    full.wait_for_log(f"event=lost_import_waits run={lost['id']} ", 30 * SLOWER)
    assert full.term() == 0 and cluster.one("SELECT ended FROM runs WHERE id = %s", lost["id"]) is None
    cluster.longshore("integration", "resume", held)
    cluster.sql(long_ago)
    scheduler = cluster.scheduler()
    scheduler.wait_for_log(f"event=lost_import_queued run={lost['id']} integration={integration} ", 30 * SLOWER)
    wait_until(lambda: [e["status"] for e in sandbox.log(path="/photos")].count(200) == 3, 30 * SLOWER, cluster.describe)
    cluster.wait_idle(30)
    assert cluster.one("SELECT ended FROM runs WHERE id = %s", lost["id"]) == "unknown"
    assert cluster.one("SELECT max(version) FROM resources") == 1

    # By hand: a purge took them, say.  As ever what did not change has no photos to ask for.
    asked = len(sandbox.log(path="/photos"))
    cluster.longshore("integration", "sync", integration, "--full", "--wait", "20s")
    cluster.wait_idle(30)
    assert len(sandbox.log(path="/photos")) == asked
    cluster.longshore("integration", "sync", integration, "--children")
    cluster.wait_idle(30)
    assert len(sandbox.log(path="/photos")) == asked + 3
    cluster.push({"task": "import_resources", "integration_id": integration, "args": {"children": "some"}})
    wait_until(cluster.dead, 20 * SLOWER, cluster.describe)
    assert 'args.children can only be "all"' in cluster.dead()[0]["error"]
