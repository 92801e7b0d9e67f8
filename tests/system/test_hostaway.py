"""Hostaway's driver against the sandbox: its rows, a token that dies as 403, errors as status "fail", a list that moves while it is read."""

import json
from datetime import date, datetime, timezone
from decimal import Decimal

import pytest

from harness import wait_until
from harness.guesty import differences
from harness.process import SLOWER
from harness.sandbox import busiest

MINOR_DIGITS = {"JPY": 0, "ISK": 0, "KWD": 3}
STATUSES = {"new": "confirmed", "modified": "confirmed", "ownerStay": "confirmed", "cancelled": "cancelled", "declined": "cancelled",
            "expired": "cancelled", "pending": "pending", "inquiry": "inquiry"}


class Hostaway:
    """The sandbox as Hostaway's own client sees it."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        form = {"grant_type": "client_credentials", "scope": "general", "client_id": "acct-1", "client_secret": "secret-1"}
        answer = sandbox.session.post(f"{sandbox.url}/hostaway/v1/accessTokens", data=form, timeout=30)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]

    def get(self, path, **params):
        return self.sandbox.get(f"/hostaway/v1{path}", self.token, **params)

    def usable(self):
        """Behind the token's first second."""
        wait_until(lambda: self.get("/listings", limit=1).status_code == 200, 20 * SLOWER, lambda: "a token to be usable")
        return self

    def all(self, path, **params):
        answer = self.get(path, limit=500, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]


def time(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc) if text else None


def minor(value, currency):
    return None if value is None else int(Decimal(str(value)) * 10 ** MINOR_DIGITS.get(currency, 2))


def number(value, as_type=float):
    return None if value is None else as_type(value)


def listing_row(one):
    return {
        "external_id": str(one["id"]), "kind": "listing", "name": one["name"], "internal_name": one["internalListingName"],
        "address1": one["street"], "city": one["city"], "region": one["state"], "postal_code": one["zipcode"],
        "country_code": one["countryCode"], "lat": number(one["lat"]), "lng": number(one["lng"]), "timezone": one["timeZoneName"],
        "currency": one["currencyCode"], "price_minor": minor(one["price"], one["currencyCode"]),
        "capacity": number(one["personCapacity"], int), "bedrooms": number(one["bedroomsNumber"], int),
        "check_in_time": f"{one['checkInTimeStart']:02}:00", "check_out_time": f"{one['checkOutTime']:02}:00",
        "partner_updated_at": time(one["latestActivityOn"]), "deleted_at": None,
    }


def reservation_row(one):
    return {
        "external_id": str(one["id"]), "resource_external_id": str(one["listingMapId"]), "code": one["confirmationCode"],
        "status": STATUSES.get(one["status"], "other"), "status_raw": one["status"], "source": one["channelName"],
        "starts_on": date.fromisoformat(one["arrivalDate"]), "ends_on": date.fromisoformat(one["departureDate"]),
        "nights": one["nights"], "guests": one["numberOfGuests"], "adults": one["adults"], "children": one["children"],
        "guest_name": one["guestName"], "guest_email": one["guestEmail"], "currency": one["currency"],
        "total_minor": minor(one["totalPrice"], one["currency"]), "cancelled_at": time(one["cancellationDate"]),
        "partner_updated_at": time(one["updatedOn"]),
    }


def rows_of(items, row_of):
    return {str(one["id"]): row_of(one) for one in items}


@pytest.mark.timeout(60 * SLOWER)
def test_imports(cluster):
    sandbox = cluster.sandbox(listings=60, reservations=100, limits="none")
    partner = Hostaway(sandbox).usable()
    listings, reservations = partner.all("/listings"), partner.all("/reservations")
    sandbox.settings(limits="15/1s")  # its own limits are in force from here on
    integration = cluster.integration(sandbox, partner="hostaway", base="/hostaway/v1")
    worker = cluster.worker(partners="hostaway")
    queue, since = "queue:{hostaway}", len(sandbox.log())
    cluster.push({"task": "import_resources", "integration_id": integration}, queue)
    idle = lambda: cluster.wait_idle(40, ("hostaway", "longshore"))
    wait_until(lambda: sandbox.log(since, path="/hostaway/"), 20 * SLOWER, worker.log_tail)
    idle()
    named = [one for one in listings if one["name"] or one["internalListingName"]]
    rows = cluster.sql("SELECT * FROM resources")
    assert len(named) < len(listings) and not differences(rows, rows_of(named, lambda one: listing_row(one) | {
        "name": one["name"] or one["internalListingName"]}))
    rows = cluster.sql("SELECT * FROM transactions")
    assert not differences(rows, rows_of(reservations, reservation_row))
    assert all(row["extra"]["customFieldValues"] == [] and row["extra"]["isPaid"] in (0, 1) for row in rows)
    photos = {str(p["id"]): p["url"] for one in named for p in one["listingImages"] if p["url"]}
    assert {r["external_id"]: r["url"] for r in cluster.sql("SELECT external_id, url FROM media")} == photos

    # By the last id, newest change first, each page over the end of the one before.
    pages = [e["path"] for e in sandbox.log(since, path="/hostaway/v1/reservations?")]
    ids = [str(one["id"]) for one in reservations]
    assert "afterId" not in pages[0] and f"afterId={ids[94]}" in pages[1] and f"afterId={ids[-1]}" in pages[-1], pages

    # The worker's token is dead: 403, the one that there is by now, once more.  (None younger than a minute is given up for a new one.)
    sandbox.reset("tokens")
    cluster.redis.client.delete(*cluster.redis.client.keys("token:*"))
    cluster.longshore("integration", "verify", integration)
    changed = listings[4]
    assert sandbox.update(sandbox.items("listing")[4]["id"], accommodates=19) == 1
    one = {"task": "import_resource", "integration_id": integration, "args": {"external_id": str(changed["id"])}}
    cluster.push(one, queue)
    wait_until(lambda: cluster.sql("SELECT 1 FROM resources WHERE external_id = %s AND capacity = 19", str(changed["id"])), 40 * SLOWER,
               worker.log_tail)
    idle()
    statuses = [e["status"] for e in sandbox.log(since, path="/hostaway/")]
    assert 403 in statuses and 429 not in statuses and not cluster.redis.client.exists("dead:{hostaway}")
    assert cluster.one("SELECT status FROM integrations") == "active"
    assert sum("/accessTokens" in e["path"] for e in sandbox.log(since)) == 2

    # What it says in words is no page.
    body = json.dumps({"status": "fail", "result": "Listing is not active"})
    sandbox.fault(match="/hostaway/v1/listings/", status=200, body=body, times=1)
    cluster.push(one, queue)
    letters = lambda: [json.loads(m) for m in cluster.redis.client.zrange("dead:{hostaway}", 0, -1)]
    (letter,) = wait_until(letters, 40 * SLOWER, worker.log_tail)
    assert (letter["class"], letter["rule"]) == ("client", "errors[3]"), letter
    assert "Listing is not active" in letter["error"]
    assert busiest([e["at_us"] for e in sandbox.log(since, path="/hostaway/") if "accessTokens" not in e["path"]], 10_000_000) <= 15


def test_it_is_what_its_driver_says(cluster):
    """What checks.daily does."""
    sandbox = cluster.sandbox(listings=20, reservations=20)
    integration = cluster.integration(sandbox, partner="hostaway", base="/hostaway/v1")
    cluster.longshore("driver", "check", "hostaway", "--live", "--integration", integration)


def test_what_the_sandbox_plays(sandbox):
    """The quirks themselves: a token's first second, 403, texts of errors, the limit of an address, a list that moves."""
    played = sandbox(listings=3, reservations=12, clean=True)
    partner = Hostaway(played)
    first = partner.get("/listings", limit=1)
    assert first.status_code == 403 and first.json()["status"] == "fail"
    partner.usable()
    ids = [one["id"] for one in partner.all("/reservations")]
    ascending = [one["id"] for one in partner.all("/reservations", sortOrder="updatedOn")]
    assert ascending == ids[::-1]
    page = partner.get("/reservations", limit=5).json()
    assert [one["id"] for one in page["result"]] == ids[:5] and page["count"] == 12 and page["totalPages"] == 3
    moved = [i["id"] for i in played.items("reservation") if int(i["id"][6:12], 16) & 0x7FFFFF == ids[7] % 5_000_000 - 1]
    assert played.update(moved[0], guestsCount=2) == 1
    rest = partner.get("/reservations", limit=100, afterId=ids[4], offset=3).json()["result"]
    assert [one["id"] for one in rest] == ids[5:7] + ids[8:], "what changed has moved to the front, and offset is ignored"
    assert partner.get("/reservations", afterId=ids[-1]).json()["result"] == []
    answer = partner.get("/listings/77")
    assert answer.status_code == 404 and set(answer.json()) == {"status", "result"}
    while answer.status_code != 429:
        answer = partner.get("/listings", limit=1)
        assert len(played.log()) < 100
    assert set(answer.json()) == {"status", "message"} and "Retry-After" not in answer.headers
    served = [e for e in played.log(path="/hostaway/v1/") if e["status"] in (200, 404) and "accessTokens" not in e["path"]]
    assert len(served) >= 15 and busiest([e["at_us"] for e in served], 10_000_000) == 15
    with played.session.delete(f"{played.url}/hostaway/v1/accessTokens?token={partner.token}", timeout=30) as answer:
        assert answer.status_code == 200
    assert partner.get("/listings").status_code == 403
