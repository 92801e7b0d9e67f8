"""Booking.com's two interfaces: a queue of XML that forgets what was acknowledged, and lists whose cursors die."""

import json
import shutil
import subprocess

import pytest

from harness import wait_until
from harness.process import ROOT, SLOWER

CARD = "4111111111111111"
QUEUES = ("queue:{booking_connectivity}", ("booking_connectivity", "longshore"))


def number(item, account=1):
    return str(3000000000 + account * 10000000 + (int(item["id"][6:12], 16) & 0x7FFFFF))


def over(item):
    return item["item"]["status"] in ("canceled", "declined", "expired")


def wanted(items):
    """Rows by id: what the sandbox's other half says of the same reservations."""
    rows = {}
    for item in items:
        tree = item["item"]
        rows[number(item)] = {
            "status": "cancelled" if over(item) else "confirmed", "starts_on": tree["checkInDateLocalized"],
            "ends_on": tree["checkOutDateLocalized"], "nights": tree["nightsCount"], "guests": tree["guestsCount"],
            "guest_name": tree["guest"]["fullName"], "guest_email": tree["guest"]["email"], "currency": "EUR",
            "total_minor": tree["nightsCount"] * 9000}
    return rows


def stored(cluster, names):
    rows = cluster.sql("SELECT * FROM transactions")
    return {r["external_id"]: {k: str(r[k]) if k.endswith("_on") else r[k] for k in names} for r in rows}


def everywhere(cluster):
    """All that is kept: the database's files' worth of it as a dump, Redis' as its dump on disk, the logs."""
    dump = subprocess.run([cluster.postgres.programs / "pg_dump", "--no-owner", cluster.env()["LONGSHORE_DATABASE_URL"]], capture_output=True, check=True)
    client, redis = cluster.redis.client, []
    for key in client.scan_iter():
        # One that ends by itself may be gone by now.
        read = {"none": lambda k: "", "string": client.get, "hash": client.hgetall, "list": lambda k: client.lrange(k, 0, -1),
                "set": client.smembers, "zset": lambda k: client.zrange(k, 0, -1), "stream": client.xrange}
        redis.append(str(read[client.type(key).decode()](key)))
    return "\n".join([dump.stdout.decode(), *redis, *(p.log_text() for p in cluster.processes if p.name != "sandbox")])


@pytest.fixture
def connectivity(cluster, tmp_path):
    """The driver as it is, but for the host that gives tokens: --base-url moves the other one alone."""
    folder = tmp_path / "drivers" / "booking_connectivity"
    shutil.copytree(ROOT / "drivers" / "booking_connectivity", folder, ignore=shutil.ignore_patterns("cassettes"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["auth"]["token_url"] = manifest["api"]["base"]["production"] + "/token-based-authentication/exchange"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)
    return folder


def test_a_queue_is_stored_before_it_is_acknowledged(cluster, connectivity):
    sandbox = cluster.sandbox(reservations=9, listings=3, clean=True)
    cluster.integration(sandbox, partner="booking_connectivity", base="")
    cluster.scheduler()
    worker = cluster.worker(partners="booking_connectivity,longshore")
    sandbox.fault(match="POST /hotels/ota/OTA_HotelResNotif", delay_ms=50000, times=1)
    cluster.push({"task": "import_all_resources"}, "queue:{longshore}")  # it lists no resources, so other tasks follow
    posts = lambda: [e for e in sandbox.log(path="/hotels/ota/OTA_HotelResNotif") if e["method"] == "POST"]
    wait_until(posts, 20 * SLOWER, worker.log_tail)
    first = stored(cluster, ["version"])
    items = sandbox.items("reservation")
    assert set(first) == set(wanted(items)) and len(first) == 9, "committed, and the partner is not told yet"
    worker.kill9_child()
    wait_until(lambda: cluster.busy(QUEUES[1]) == 0, 45, cluster.describe, 0.1)

    rows = wanted(items)
    assert stored(cluster, rows[number(items[0])]) == rows
    gets = [e for e in sandbox.log(path="/hotels/ota/OTA_HotelResNotif") if e["method"] == "GET"]
    assert len(gets) == 3, "all, the same again, none"
    changed = {number(i) for i in items if over(i)}
    versions = stored(cluster, ["version"])
    assert changed and all(v["version"] == (2 if id in changed else 1) for id, v in versions.items()), versions
    assert cluster.one("SELECT count(*) FROM dead_letters") == 0
    tokens = [e for e in sandbox.log(path="/token-based-authentication/exchange")]
    assert len(tokens) == 1, "one token for both workers"


def exchange(sandbox, account, secret=None):
    body = {"client_id": f"acct-{account}", "client_secret": secret or f"secret-{account}"}
    return sandbox.session.post(f"{sandbox.url}/token-based-authentication/exchange", json=body, timeout=30)


def test_card_data_is_nowhere(cluster, connectivity):
    """Not in rows, logs, Redis, dead letters (of answers that are no XML, and of errors) or cassettes."""
    sandbox = cluster.sandbox(reservations=4, listings=3, clean=True)
    jwt = exchange(sandbox, 2).json()["jwt"]
    sent = [sandbox.get("/hotels/ota/OTA_HotelResNotif", jwt).text for _ in range(2)]
    assert sent[0].count(CARD) == 8 and "<Guarantee>" in sent[0] and CARD not in sent[1], "once"

    one = cluster.integration(sandbox, partner="booking_connectivity", base="")
    cluster.longshore("driver", "record", "booking_connectivity", "--integration", one, "--pages", 1)
    texts = {p.name: p.read_text() for p in (connectivity / "cassettes").iterdir()}
    assert "HotelReservationID" in texts["reservations.json"] and "total_minor" in texts["reservations.rows.json"]
    assert not [n for n, text in texts.items() if CARD in text or "Guarantee" in text or "Holder" in text]
    assert cluster.longshore.run("driver", "check", connectivity).code == 0

    cut = '<a:OTA_HotelResNotifRQ><HotelReservations><HotelReservation><a:Guarantee Code="1"><PaymentCard CardNumber="' + CARD
    bad = f"<Errors><Error/><Guarantee><GuaranteeAccepted>{CARD}</GuaranteeAccepted></Guarantee> seen </Errors>"
    sandbox.fault(match="GET /hotels/ota/OTA_HotelResNotif", body=cut, times=2)  # asked once more at once
    cluster.scheduler()
    worker = cluster.worker(partners="booking_connectivity")
    cluster.push({"task": "import_transactions", "integration_id": one, "max_retries": 0}, QUEUES[0])
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") == 1, 20 * SLOWER, worker.log_tail)
    sandbox.fault(match="GET /hotels/ota/OTA_HotelResNotif", status=400, body=bad, times=1)
    cluster.push({"task": "import_transactions", "integration_id": one, "max_retries": 0}, QUEUES[0])
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") == 2, 20 * SLOWER, worker.log_tail)
    four = cluster.integration(sandbox, "acct-4", partner="booking_connectivity", base="")
    cluster.push({"task": "import_transactions", "integration_id": four}, QUEUES[0])
    wait_until(lambda: cluster.busy(QUEUES[1]) == 0, 40, cluster.describe, 0.1)
    assert cluster.one("SELECT count(*) FROM transactions WHERE integration_id = %s", four) == 4
    kept = everywhere(cluster)
    assert " seen " in kept and "HotelReservations" in kept, "the answers are there, for people"
    assert CARD not in kept and "Holder" not in kept and "SeriesCode" not in kept


def test_no_access_is_no_broken_credential(cluster, connectivity):
    sandbox = cluster.sandbox(reservations=2, listings=1, clean=True)
    assert exchange(sandbox, 403, "wrong").status_code == 401
    integration = cluster.integration(sandbox, "acct-403", partner="booking_connectivity", base="")
    cluster.scheduler()
    worker = cluster.worker(partners="booking_connectivity")
    cluster.push({"task": "import_transactions", "integration_id": integration}, QUEUES[0])
    wait_until(lambda: cluster.sql("SELECT 1 FROM dead_letters"), 20 * SLOWER, worker.log_tail)
    shown = cluster.longshore("integration", "show", integration, "--json").json()
    assert shown["status"] == "active", shown
    paths = [(e["path"], e["status"]) for e in sandbox.log(account="acct-403")]
    assert paths == [("/token-based-authentication/exchange", 200), ("/hotels/ota/OTA_HotelResNotif", 403)], paths
    statuses = [exchange(sandbox, 403).status_code for _ in range(30)]
    assert statuses == [200] * 29 + [429], "thirty an hour"


def demand(cluster, sandbox, account=1):
    words = ["--set", f"affiliate_id={2000000 + account}", "--set", "country=pt", "--set", "orders_from=2020-01-01T00:00:00Z"]
    done = cluster.longshore("integration", "add", "--company", cluster.company(), "--partner", "booking_demand", "--base-url",
                             sandbox.url + "/booking-demand/3.1", *words, "--credentials", "-",
                             input=json.dumps({"token": f"sbx-{account}-demand"}))
    return int(done.out.split()[-1])


def test_pages_whose_token_died_are_asked_for_anew(cluster):
    sandbox = cluster.sandbox(listings=120, reservations=130, clean=True)
    integration = demand(cluster, sandbox)
    dead = {"request_id": "r", "errors": [{"id": "expired_page", "message": "the page token has expired"}]}
    sandbox.fault(match="POST /booking-demand/3.1/orders", skip=1, times=1, status=400, body=json.dumps(dead))
    cluster.scheduler()
    worker = cluster.worker(partners="booking_demand")
    partners = ("booking_demand", "longshore")
    cluster.push({"task": "import_transactions", "integration_id": integration}, "queue:{booking_demand}")
    client = cluster.redis.client

    def is_over():  # the scan begins anew as a retry: now, not in half a minute
        late = client.zrange("delayed:{booking_demand}", 0, -1)
        if late:
            client.zadd("delayed:{booking_demand}", {m: 1 for m in late}, xx=True)
        return cluster.busy(partners) == 0

    wait_until(is_over, 40, cluster.describe, 0.1)
    calls = [e["status"] for e in sandbox.log(path="/booking-demand/3.1/orders/details")]
    assert calls == [200, 400, 200, 200], worker.log_tail()
    rows = {r["code"]: r for r in cluster.sql("SELECT * FROM transactions")}
    wanted_rows = {str(4000000000 + (int(i["id"][6:12], 16) & 0x7FFFFF)): i["item"] for i in sandbox.items("reservation")}
    assert set(rows) == set(wanted_rows) and len(rows) == 130
    for code, tree in wanted_rows.items():
        row = rows[code]
        assert (row["guest_email"], str(row["starts_on"]), row["total_minor"], row["version"]) == (
            tree["guest"]["email"], tree["checkInDateLocalized"], tree["nightsCount"] * 9000 + 50, 1), code
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{booking_demand}")
    wait_until(is_over, 40, cluster.describe, 0.1)
    names = {r["name"] for r in cluster.sql("SELECT name FROM resources")}
    assert names == {i["item"]["title"] for i in sandbox.items("listing")}
    cluster.longshore("driver", "check", "booking_demand", "--live", "--integration", integration)  # what checks.daily does
    assert cluster.one("SELECT count(*) FROM resources") == 120 and cluster.one("SELECT count(*) FROM rejected_items") == 0
    missing = sandbox.session.post(f"{sandbox.url}/booking-demand/3.1/orders/details", json={}, timeout=30,
                                   headers={"Authorization": "Bearer sbx-1-demand"})
    assert missing.status_code == 401 and "X-Affiliate-Id" in missing.json()["errors"][0]["message"]
    headers = {"Authorization": "Bearer sbx-9-demand", "X-Affiliate-Id": "2000009"}
    ask = lambda: sandbox.session.post(f"{sandbox.url}/booking-demand/3.1/orders/details", json={}, headers=headers, timeout=30)
    assert [ask().status_code for _ in range(51)] == [400] * 50 + [429], "fifty a minute"
