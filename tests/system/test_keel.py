"""One partner, end to end: a job is pushed with redis-cli, and the right rows stand in Postgres."""

import json
import subprocess
from urllib.parse import parse_qs, urlsplit

from harness import wait_until
from harness.guesty import differences, expected, listing_row, photo_rows, reservation_row
from harness.process import SLOWER
from harness.sandbox import busiest


def rows_of(cluster, table, integration):
    return cluster.sql(f"SELECT * FROM {table} WHERE integration_id = %s", integration)


def assert_rows_right(cluster, sandbox, integration, account="acct-1"):
    """Every item of the account is a right row, or set aside, and nothing else is there."""
    listings, stays = sandbox.items("listing", account), sandbox.items("reservation", account)
    wanted, aside = expected(listings, listing_row)
    assert not differences(rows_of(cluster, "resources", integration), wanted)
    wanted_stays, stays_aside = expected(stays, reservation_row)
    assert not differences(rows_of(cluster, "transactions", integration), wanted_stays)
    rejected = cluster.sql("SELECT DISTINCT collection, external_id FROM rejected_items WHERE integration_id = %s"
                           " AND collection <> 'photos'", integration)
    assert {(r["collection"], r["external_id"]) for r in rejected} == {
        *(("listings", i) for i in aside), *(("reservations", i) for i in stays_aside)}
    return listings, stays


def assert_photos_right(cluster, integration, listings):
    media = rows_of(cluster, "media", integration)
    by_url = {row["url"]: row for row in media}
    count = aside = 0
    for item in {i["id"]: i["item"] for i in listings if listing_row(i["item"])}.values():
        rows, lost = photo_rows(item)
        count, aside = count + len(rows), aside + lost
        for want in rows:
            row = by_url[want["url"]]
            assert {key: row[key] for key in want} == want
    assert len(media) == len(by_url) == count
    assert len({row["external_id"] for row in media}) == count
    return aside


def test_a_push_with_redis_cli_becomes_rows(cluster):
    sandbox = cluster.sandbox(listings=150)
    integration = cluster.integration(sandbox)
    worker = cluster.worker()
    job = json.dumps({"task": "import_resources", "integration_id": integration})
    subprocess.run(["redis-cli", "-p", str(cluster.redis.port), "LPUSH", "queue:{guesty}", job], check=True,
                   capture_output=True)
    cluster.wait_idle(40)
    listings, stays = assert_rows_right(cluster, sandbox, integration)
    lost = assert_photos_right(cluster, integration, listings)
    assert {i["awkward"] for i in listings} >= {"null_address", "text_numbers", "emoji", "missing_name", "duplicate"}
    assert {i["awkward"] for i in stays} >= {"bad_date", "impossible_date", "unknown_listing", "odd_status"}

    aside = cluster.sql("SELECT * FROM rejected_items WHERE integration_id = %s", integration)
    nameless = [r for r in aside if r["collection"] == "listings"]
    assert len(nameless) == 3 and all(r["field"] == "name" and "required" in r["reason"] for r in nameless)
    assert all(r["item"]["_id"] == r["external_id"] for r in nameless), "the item is kept as it was sent"
    assert {r["field"] for r in aside if r["collection"] == "reservations"} == {"starts_at", "ends_at"}
    assert sum(r["collection"] == "photos" for r in aside) == lost == 3

    runs = {r["collection"] or r["task"]: r for r in cluster.sql("SELECT * FROM runs")}
    assert all(r["state"] == "done" for r in runs.values()), runs
    assert sum(r["failed"] for r in runs.values()) == len(aside)
    assert cluster.one("SELECT last_success_at IS NOT NULL FROM integrations WHERE id = %s", integration)
    assert set(sandbox.statuses()) == {200} and sandbox.stats()["tokens_minted"] == 1
    assert cluster.dead() == []
    secret = "secret-1"
    assert secret not in worker.log_text() and not any(
        secret in str(row) for row in cluster.sql("SELECT * FROM credentials"))
    token = cluster.redis.client.keys("*")
    for key in token:
        kind = cluster.redis.client.type(key)
        if kind == b"string":
            assert b"sbx-" not in cluster.redis.client.get(key), f"{key} holds a token in clear"


def test_a_thousand_listings_two_workers_no_429_one_token(cluster):
    sandbox = cluster.sandbox(listings=1000, latency="30ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()  # promotes what was given back because its permit was seconds away
    cluster.worker()
    cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    ids = [i["id"] for i in sandbox.items("listing") if listing_row(i["item"])]
    for external_id in ids[:60]:  # many calls at the same time, so that there is something to limit
        cluster.push({"task": "import_resource", "integration_id": integration, "args": {"external_id": external_id}},
                     "queue:{guesty}:high")
    cluster.wait_idle(45)
    calls = sandbox.log(path="/v1/")
    assert len(calls) >= 60 + 10 + 10
    assert {c["status"] for c in calls} == {200}
    times = [c["at_us"] for c in calls]
    assert busiest(times, 1_000_000) <= 15 and busiest(times, 60_000_000) <= 120
    assert sandbox.stats()["tokens_minted"] == 1 and sandbox.stats()["max_in_flight"] <= 15
    listings, _ = assert_rows_right(cluster, sandbox, integration)
    assert_photos_right(cluster, integration, listings)


def test_the_scheduler_starts_imports_for_all(cluster):
    sandbox = cluster.sandbox(listings=60)
    first, second = cluster.company("First & Co"), cluster.company("Second Stays")
    integrations = {"acct-1": cluster.integration(sandbox, "acct-1", company=first),
                    "acct-2": cluster.integration(sandbox, "acct-2", company=first),
                    "acct-3": cluster.integration(sandbox, "acct-3", company=second)}
    cluster.worker()
    cluster.worker()
    scheduler = cluster.scheduler(import_every="4h")
    wait_until(lambda: cluster.one("SELECT count(*) FROM integrations WHERE last_success_at IS NULL") == 0, 40 * SLOWER,
               cluster.describe)
    cluster.wait_idle(40)
    for account, integration in integrations.items():
        assert_rows_right(cluster, sandbox, integration, account)
    assert cluster.one("SELECT count(*) FROM runs WHERE task = 'import_resources'") == 3
    roots = {r["root_id"] for r in cluster.sql("SELECT root_id FROM runs")}
    assert len(roots) == 3, "all that came of a start is one run"
    assert set(sandbox.statuses()) == {200} and sandbox.stats()["tokens_minted"] == 3

    assert scheduler.get("/healthz").status_code == 200 and scheduler.get("/readyz").status_code == 200
    metrics = scheduler.get("/metrics").text
    assert 'integration_queue_length{queue_name="guesty"} 0' in metrics
    status = cluster.status()
    assert {"guesty", "guesty:high", "guesty:low"} <= {q["queue"] for q in status["queues"]}
    assert len(status["workers"]) >= 2 and status["leader"]


def test_raw_import_all_without_a_scheduler(cluster):
    sandbox = cluster.sandbox(listings=20)
    integration = cluster.integration(sandbox)
    cluster.worker()
    cluster.push({"task": "import_all_resources"}, "queue:{longshore}")
    wait_until(lambda: cluster.one("SELECT count(*) FROM transactions") > 0, 30 * SLOWER, cluster.describe)
    cluster.wait_idle(30)
    assert_rows_right(cluster, sandbox, integration)


def test_an_incremental_run_asks_only_for_what_changed(cluster):
    sandbox = cluster.sandbox(listings=30, reservations=250, clean=True)
    integration = cluster.integration(sandbox)
    cluster.worker()
    cluster.push({"task": "import_transactions", "integration_id": integration})
    cluster.wait_idle(30)
    stays = sandbox.items("reservation")
    assert not differences(rows_of(cluster, "transactions", integration), expected(stays, reservation_row)[0])
    newest = max(s["item"]["lastUpdatedAt"] for s in stays)

    changed = [s["id"] for s in stays[10:13]]
    for external_id in changed:
        assert sandbox.update(external_id, status="canceled", note="Changed its mind 🙃") == 1
    seen = len(sandbox.log())
    cluster.push({"task": "import_transactions", "integration_id": integration, "args": {"mode": "incremental"}})
    cluster.wait_idle(30)
    calls = sandbox.log(path="/v1/reservations")[-1:]
    assert len(sandbox.log()) == seen + 1, "one call is enough for three changes"
    (asked,) = json.loads(parse_qs(urlsplit(calls[0]["path"]).query)["filters"][0])
    assert asked["field"] == "lastUpdatedAt" and asked["operator"] == "$gt"
    assert "2000" < asked["value"] <= newest, "from the newest that is stored, less an overlap"

    rows = {r["external_id"]: r for r in rows_of(cluster, "transactions", integration)}
    assert not differences(rows.values(), expected(sandbox.items("reservation"), reservation_row)[0])
    versions = {external_id: row["version"] for external_id, row in rows.items()}
    assert {i for i, version in versions.items() if version == 2} == set(changed)
    assert set(versions.values()) == {1, 2}
    (run,) = cluster.sql("SELECT * FROM runs ORDER BY id DESC LIMIT 1")
    assert run["mode"] == "incremental" and run["updated"] == 3 and run["added"] == 0
    assert run["processed"] < 20, "and not all 250"


def test_a_second_full_run_changes_nothing(cluster):
    sandbox = cluster.sandbox(listings=120)
    integration = cluster.integration(sandbox)
    cluster.worker()
    for _ in range(2):
        cluster.push({"task": "import_resources", "integration_id": integration})
        cluster.wait_idle(40)
    assert_rows_right(cluster, sandbox, integration)
    for table in ("resources", "transactions", "media"):
        assert cluster.one(f"SELECT max(version) FROM {table}") == 1, table
    again = cluster.sql("SELECT sum(added) AS added, sum(updated) AS updated, sum(unchanged) AS unchanged FROM runs"
                        " WHERE task = 'import_resources' GROUP BY id ORDER BY id DESC LIMIT 1")[0]
    assert (again["added"], again["updated"]) == (0, 0) and again["unchanged"] > 100


def test_changed_and_renamed_items_get_a_version(cluster):
    sandbox = cluster.sandbox(listings=40, clean=True)
    integration = cluster.integration(sandbox)
    cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    cluster.wait_idle(30)
    listing = sandbox.items("listing")[7]
    sandbox.update(listing["id"], nickname="Renamed", pictures=listing["item"]["pictures"][:1])
    cluster.push({"task": "import_resource", "integration_id": integration, "args": {"external_id": listing["id"]}})
    cluster.wait_idle(30)
    row = next(r for r in rows_of(cluster, "resources", integration) if r["external_id"] == listing["id"])
    assert (row["name"], row["version"]) == ("Renamed", 2) and row["changed_at"] > row["first_seen_at"]
    assert cluster.one("SELECT count(*) FROM resources WHERE version > 1") == 1


def test_bad_answers_of_the_partner(cluster):
    """A page that is no JSON, and one whose item is no object: nothing wrong is stored, and the error says where."""
    sandbox = cluster.sandbox(listings=10, clean=True)
    integration = cluster.integration(sandbox)
    cluster.worker()
    sandbox.fault(match="/v1/listings", body='{"results": [{"_id": "x", ', times=1)
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: cluster.dead(), 30 * SLOWER, cluster.describe)
    (letter,) = cluster.dead()
    assert letter["class"] == "data" and "exchange" in letter and "sbx-" not in json.dumps(letter)
    assert cluster.one("SELECT count(*) FROM resources") == 0
    good = sandbox.items("listing")[0]["item"]
    sandbox.fault(match="/v1/listings", body=json.dumps({"results": [good, "listing", None, {"title": "no id"}], "count": 4}),
                  times=1)
    cluster.push({"task": "import_resources", "integration_id": integration})
    cluster.wait_idle(30)
    assert [r["external_id"] for r in rows_of(cluster, "resources", integration)] == [good["_id"]]
    assert cluster.one("SELECT count(*) FROM rejected_items WHERE collection = 'listings'") == 3
