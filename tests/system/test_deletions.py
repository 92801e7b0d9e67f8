"""P5: what a complete scan did not see is marked deleted; what proves nothing deletes nothing; too much waits for a person."""

import contextlib
import json

import pytest

from harness import wait_until
from harness.guesty import photo_rows
from harness.process import SLOWER
from harness.shelf import Shelf, add_shelf, shelf_manifest

PARTNERS = ("guesty", "shelf", "longshore")


def gone(cluster, table="resources"):
    return {r["external_id"] for r in cluster.sql(f"SELECT external_id FROM {table} WHERE deleted_at IS NOT NULL")}


def scan(cluster, integration, partner="guesty", task="import_resources", **args):
    # What was seen before was seen well before: a worker that is asked by a busy machine what time it is in Redis is unsure by parts of a second.
    for table in ("resources", "media"):
        cluster.sql(f"UPDATE {table} SET observed_at = observed_at - interval '1 minute'")
    cluster.push({"task": task, "integration_id": integration, "args": args}, f"queue:{{{partner}}}")
    cluster.wait_idle(40, PARTNERS)
    (run,) = cluster.sql("SELECT * FROM runs WHERE task = %s ORDER BY id DESC LIMIT 1", task)
    return run


@pytest.fixture
def shelf(cluster, tmp_path):
    """shelf(items, total=True, **collection) -> (partner, integration), with a worker."""
    made = []

    def make(items, total=True, size=1000, settings=None, **collection):
        add_shelf(cluster, tmp_path, shelf_manifest(size, **collection))
        made.append(Shelf(items, total))
        cluster.worker()
        return made[-1], cluster.integration(made[-1], partner="shelf", base="", **(settings or {}))

    yield make
    for one in made:
        one.close()


def test_what_a_full_scan_did_not_see(cluster):
    sandbox = cluster.sandbox(listings=150, reservations=5, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    worker = cluster.worker()
    run = scan(cluster, integration)
    assert run["deleted"] == 0 and not gone(cluster)
    items = {i["id"]: i["item"] for i in sandbox.items("listing")}
    lost = sorted(items)[3:120:20]
    thinned = sorted(items)[5]
    for id in lost:
        sandbox.remove(id)
    sandbox.update(thinned, pictures=items[thinned]["pictures"][:1])
    photos = {r["external_id"]: r["resource_external_id"] for r in cluster.sql("SELECT * FROM media")}

    scan(cluster, integration, mode="incremental")
    assert not gone(cluster), "an incremental import proves nothing of the list"
    kept = {r["external_id"] for r in photo_rows({**items[thinned], "pictures": items[thinned]["pictures"][:1]})[0]
            if "external_id" in r}
    thin = {p for p, of in photos.items() if of == thinned} - kept
    if kept:  # but a listing that was read has its whole list of photos
        assert gone(cluster, "media") == thin

    seen = len(sandbox.log(path="/v1/listings?"))
    run = scan(cluster, integration, mode="full")
    assert gone(cluster) == set(lost)
    rows = cluster.sql("SELECT * FROM resources WHERE deleted_at IS NOT NULL")
    assert all(r["version"] == 2 and r["changed_at"] == r["deleted_at"] and r["name"] for r in rows)
    orphans = {p for p, of in photos.items() if of in lost}
    assert orphans and orphans <= gone(cluster, "media") <= orphans | {p for p, of in photos.items() if of == thinned}
    assert run["state"] == "done" and run["deleted"] == len(lost) + len(orphans)
    assert run["processed"] == 144 and run["unchanged"] > 144
    assert len(sandbox.log(path="/v1/listings?")) == seen + 4, "two pages, and once more before they are believed gone"
    assert 'event=rows_deleted' in worker.log_text()

    # One comes back, with the photos that it had.
    back = items[lost[0]]
    sandbox.control("POST", "/update", {"account": "acct-1", "noun": "listing", "append": back})
    run = scan(cluster, integration)
    assert gone(cluster) == set(lost[1:]) and run["undeleted"] >= 1 and run["deleted"] == 0
    assert cluster.one("SELECT version FROM resources WHERE external_id = %s", lost[0]) == 3
    assert not {p for p, of in photos.items() if of == lost[0]} & gone(cluster, "media")
    again = scan(cluster, integration)
    assert (again["deleted"], again["updated"], again["undeleted"]) == (0, 0, 0)


def test_too_much_stops_and_asks(cluster):
    sandbox = cluster.sandbox(listings=40, reservations=1, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.worker()
    scan(cluster, integration)
    lost = [i["id"] for i in sandbox.items("listing")][:9]
    for id in lost:
        sandbox.remove(id)
    run = scan(cluster, integration)
    assert not gone(cluster) and not gone(cluster, "media"), "all of it is kept"
    assert run["state"] == "done" and run["deleted"] == 0
    assert f"9 of 40 rows were not seen" in run["note"] and f"confirm-deletes {run['id']}" in run["note"]
    (alert,) = cluster.sql("SELECT * FROM alerts WHERE kind = 'deletions_held'")
    assert alert["state"] == "open" and alert["scope"] == f"integration:{integration}"
    assert "listings: 9 of 40 rows" in alert["what"] and f"confirm-deletes {run['id']}" in alert["todo"]
    shown = cluster.longshore("run", "show", run["id"], "--json").json()
    assert shown["deletes_held"] == 9

    # One of them is seen before somebody says yes.
    cluster.sql("UPDATE resources SET observed_at = now() WHERE external_id = %s", lost[0])
    done = cluster.longshore("run", "confirm-deletes", run["id"], "--json").json()
    photos = cluster.one("SELECT count(*) FROM media WHERE resource_external_id = ANY (%s)", lost[1:])
    assert done == {"deleted": 8 + photos}
    assert gone(cluster) == set(lost[1:])
    assert cluster.one("SELECT deleted FROM runs WHERE id = %s", run["id"]) == 8 + photos
    assert cluster.one("SELECT state FROM alerts WHERE kind = 'deletions_held'") == "resolved"
    twice = cluster.longshore.run("run", "confirm-deletes", run["id"])
    assert twice.code == 1 and "confirmed already" in twice.err
    none = cluster.longshore.run("run", "confirm-deletes", 99999999)
    assert none.code == 3 and "no run 99999999" in none.err


def test_a_later_scan_decides_anew(cluster):
    sandbox = cluster.sandbox(listings=40, reservations=1, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.worker()
    scan(cluster, integration)
    items = sandbox.items("listing")
    for i in items[:9]:
        sandbox.remove(i["id"])
    held = scan(cluster, integration)
    for i in items[2:9]:
        sandbox.control("POST", "/update", {"account": "acct-1", "noun": "listing", "append": i["item"]})
    run = scan(cluster, integration)
    assert gone(cluster) == {i["id"] for i in items[:2]} and run["note"] is None
    assert cluster.one("SELECT state FROM alerts WHERE kind = 'deletions_held'") == "resolved"
    late = cluster.longshore.run("run", "confirm-deletes", held["id"])
    assert late.code == 1 and "later scan" in late.err and str(run["id"]) in late.err
    assert len(gone(cluster)) == 2
    assert cluster.one("SELECT count(*) FROM held_deletions WHERE state = 'superseded'") == 1


def test_the_brake_is_set_per_integration(cluster, shelf):
    partner, integration = shelf(range(40), settings={"deletes_brake": "0.9"})
    scan(cluster, integration, "shelf")
    for i in range(20):
        del partner.items[str(i)]
    run = scan(cluster, integration, "shelf")
    assert run["deleted"] == 20 and len(gone(cluster)) == 20
    wrong = cluster.longshore.run("integration", "set", integration, "--set", "deletes_brake=20")
    assert wrong.code == 2 and "over 0 to 1" in wrong.err


def empty(query):
    return 200, {"items": [], "total": 0}


def not_found(query):
    return 404, {"error": "no such list"}


def cut(query):
    """The second page is empty although the total says more."""
    return (200, {"items": [], "total": 30}) if query["skip"] != "0" else None


def test_what_proves_nothing(cluster, shelf):
    partner, integration = shelf(range(30), size=10, settings={"deletes_brake": "1"})
    scan(cluster, integration, "shelf")
    for spoil in (empty, not_found, cut):
        partner.spoil = spoil
        run = scan(cluster, integration, "shelf")
        assert not gone(cluster), run
        if spoil is empty:
            assert run["state"] == "done" and "30 rows were not seen, and are kept: the list was empty" in run["note"]
        elif spoil is cut:
            assert run["state"] == "incomplete"
    partner.spoil = None
    del partner.items["7"]
    scan(cluster, integration, "shelf")
    assert gone(cluster) == {"7"}


def test_a_short_page_is_no_end(cluster, shelf):
    """A list without a total: a page that came short is followed by another question."""
    partner, integration = shelf(range(30), total=False, size=10, settings={"deletes_brake": "1"})
    scan(cluster, integration, "shelf")
    ids = sorted(partner.items, key=int)

    def short(query):
        skip = int(query["skip"])
        return 200, {"items": [partner.items[i] for i in ids[skip:skip + (6 if skip == 10 else 10)]]}

    partner.spoil = short
    run = scan(cluster, integration, "shelf")
    assert run["state"] == "done" and not gone(cluster), run


def test_items_that_cannot_be_rows_are_there_all_the_same(cluster, shelf):
    partner, integration = shelf(range(30), size=10, settings={"deletes_brake": "1"})
    scan(cluster, integration, "shelf")
    partner.items["3"]["name"] = None  # set aside, and there
    del partner.items["4"]
    run = scan(cluster, integration, "shelf")
    assert gone(cluster) == {"4"} and run["failed"] == 1
    assert cluster.one("SELECT name FROM resources WHERE external_id = '3'") == "item 3"
    del partner.items["5"]
    partner.items["6"] = {"id": None, "name": "who?"}  # it may be any of them
    run = scan(cluster, integration, "shelf")
    assert gone(cluster) == {"4"} and "nobody can tell which they are" in run["note"]


def test_a_list_that_moves_while_it_is_read(cluster, shelf):
    """An item that is taken out of a page already read moves all others up: one is on no page."""
    partner, integration = shelf(range(30), size=10)
    scan(cluster, integration, "shelf")

    def moving(query):
        if query["skip"] == "10":
            partner.items.pop("2", None)
        return None

    partner.spoil = moving
    run = scan(cluster, integration, "shelf")
    assert gone(cluster) == set(), "10 was on no page, and 2 was on the first"
    assert run["state"] == "done"
    scan(cluster, integration, "shelf")
    assert gone(cluster) == {"2"}


def test_an_item_that_says_it_is_deleted(cluster, shelf):
    photos = {"each": "items", "get": "/items/{parent.id}/photos", "records": "photos", "id": "id", "id_prefix": "photo-", "table": "media",
              "when_changed": "name", "pagination": {"kind": "none"}, "map": {"kind": {"const": "photo"}}}
    partner, integration = shelf(range(10), deletes={"tombstone": {"path": "state", "value": "removed"}}, updated_at="at",
                                 merged_into="became", photos=photos)
    for item in partner.items.values():
        item["at"] = "2026-01-01T00:00:00Z"
    scan(cluster, integration, "shelf")
    del partner.items["9"]
    partner.items["3"] = {"id": "3", "state": "removed", "at": "2026-01-02T00:00:00Z"}
    partner.items["4"] |= {"state": "removed", "at": "2025-01-02T00:00:00Z"}  # older news
    partner.items["20"] = {"id": "20", "state": "removed", "at": "2026-01-02T00:00:00Z"}
    run = scan(cluster, integration, "shelf")
    assert gone(cluster) == {"3", "20"} and run["deleted"] == 1 and run["failed"] == 0 and run["stale"] == 1
    (row,) = cluster.sql("SELECT * FROM resources WHERE external_id = '3'")
    assert row["name"] == "item 3" and row["version"] == 2
    partner.items["3"] = {"id": "3", "name": "back", "at": "2026-01-03T00:00:00Z"}
    run = scan(cluster, integration, "shelf")
    assert gone(cluster) == {"20"} and run["undeleted"] == 1

    # So does one that became another, or several.
    cluster.sql("INSERT INTO media (integration_id, external_id, resource_external_id, kind, observed_at)"
                " SELECT %s, 'of-' || n, n::text, 'photo', now() FROM generate_series(5, 7) n", integration)
    partner.items["5"] = {"id": "5", "became": "6", "at": "2026-01-04T00:00:00Z"}
    partner.items["7"] = {"id": "7", "became": [8, 30], "at": "2026-01-04T00:00:00Z"}
    partner.items["2"] |= {"became": "6", "at": "2025-01-02T00:00:00Z"}  # older news
    partner.asked.clear()
    run = scan(cluster, integration, "shelf")
    assert gone(cluster) == {"20", "5", "7"} and (run["deleted"], run["stale"], run["failed"]) == (2, 2, 0)
    rows = {r["external_id"]: r for r in cluster.sql("SELECT * FROM resources")}
    assert [rows[id]["replaced_by"] for id in "2567"] == [None, "6", None, "8"] and rows["5"]["name"] == "item 5"
    links = "SELECT old_external_id || ' ' || new_external_id || ' ' || source || ' ' || run_id AS link FROM id_links ORDER BY 1"
    assert [r["link"] for r in cluster.sql(links)] == [f"{link} full {run['id']}" for link in ("5 6", "7 30", "7 8")]
    children = "SELECT string_agg(external_id || ' ' || resource_external_id, ', ' ORDER BY external_id) FROM media WHERE deleted_at IS NULL"
    assert cluster.one(children) == "of-5 6, of-6 6, of-7 7", "those of one that was split are whose the partner says they are"
    assert [path for path in partner.asked if "photos" in path] == ["/items/6/photos"], "what the partner gave it is asked for, though it did not change"
    # Told again it is no news; one that is itself again loses its mark, and may be merged again.
    cluster.sql("UPDATE media SET resource_external_id = '5' WHERE external_id = 'of-5'")
    scan(cluster, integration, "shelf")
    assert cluster.sql("SELECT external_id, version FROM resources WHERE external_id IN ('5', '7') ORDER BY 1") == [
        {"external_id": id, "version": rows[id]["version"]} for id in "57"]
    assert cluster.one(children).startswith("of-5 5"), "what came since under the old id is the partner's word"
    partner.items["5"] = {"id": "5", "name": "again", "at": "2026-01-05T00:00:00Z"}
    scan(cluster, integration, "shelf")
    assert cluster.one("SELECT deleted_at IS NULL AND replaced_by IS NULL FROM resources WHERE external_id = '5'")
    partner.items["5"] = {"id": "5", "became": "6", "at": "2026-01-06T00:00:00Z"}
    scan(cluster, integration, "shelf")
    assert cluster.one("SELECT replaced_by FROM resources WHERE external_id = '5'") == "6"
    assert cluster.one(children).startswith("of-5 6")


@contextlib.contextmanager
def row_locked(cluster, external_id):
    with contextlib.closing(cluster.postgres.connect(cluster.database)) as connection:
        connection.autocommit = False
        connection.cursor().execute("SELECT FROM resources WHERE external_id = %s FOR UPDATE", (external_id,))
        yield
        connection.rollback()


@pytest.mark.timeout(90 * SLOWER)
def test_who_dies_between_two_slices_leaves_the_rest_to_the_next(cluster, shelf):
    partner, integration = shelf(range(5), settings={"deletes_brake": "1"})
    cluster.sql("INSERT INTO resources (integration_id, external_id, kind, name, observed_at) SELECT %s, 'old-' || lpad(n::text, 5, '0'),"
                " 'item', 'old', now() - interval '1 minute' FROM generate_series(1, 2500) n", integration)
    worker = next(p for p in cluster.processes if p.name == "worker1")
    with row_locked(cluster, "old-01500"):
        cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{shelf}")
        wait_until(lambda: len(gone(cluster)) == 1000, 20 * SLOWER, cluster.describe)
        wait_until(lambda: cluster.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"), 20 * SLOWER)
        worker.kill9_child()
        # What it had sent dies with its connection, or it would be done twice.
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    asked = len(partner.asked)
    cluster.wait_idle(50, PARTNERS)
    assert len(gone(cluster)) == 2500
    (run,) = cluster.sql("SELECT * FROM runs")
    assert run["state"] == "done" and run["deleted"] == 2500
    assert cluster.one("SELECT max(version) FROM resources") == 2
    assert len(partner.asked) == asked, "the list was read already"
