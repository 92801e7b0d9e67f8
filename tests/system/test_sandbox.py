"""The simulated partner itself: other tests prove things with it, so first it is proved."""

import json
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from harness import wait_until
from harness.process import BIN, SLOWER
from harness.sandbox import busiest


def all_pages(sandbox, token, path="/v1/listings", limit=100, **params):
    items = []
    while True:
        answer = sandbox.get(path, token, limit=limit, skip=len(items), **params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert (page["limit"], page["skip"]) == (limit, len(items))
        items += page["results"]
        if len(page["results"]) < limit:
            assert page["count"] == len(items)
            return items


# ---- content ----

def test_content_follows_from_seed_and_account_alone(sandbox):
    flags = {"listings": 150, "anchor": "2026-11-01T00:00:00Z"}
    a, b, other_seed = sandbox(seed=3, **flags), sandbox(seed=3, **flags), sandbox(seed=4, **flags)
    for noun in ("listing", "reservation"):
        assert a.items(noun) == b.items(noun)
        assert a.items(noun) != other_seed.items(noun)
        first, second = ({i["id"] for i in a.items(noun, account)} for account in ("acct-1", "acct-2"))
        assert len(first) == len(second) == 149  # one of 150 is there twice
        assert not first & second


def test_describe_prints_what_the_api_serves(sandbox):
    one = sandbox(listings=60, seed=5, anchor="2026-11-01T00:00:00Z", limits="none")
    out = subprocess.run([BIN / "longshore-sandbox", "--listings", "60", "--seed", "5", "--anchor", "2026-11-01T00:00:00Z",
                          "--describe", "acct-3"], capture_output=True, check=True).stdout.decode()
    described = [json.loads(line) for line in out.splitlines()]
    served = all_pages(one, one.token("acct-3"))
    assert [d["item"] for d in described if d["noun"] == "listing"] == served
    assert described == one.items("listing", "acct-3") + one.items("reservation", "acct-3")


def test_awkward_values_are_where_they_are_said_to_be(sandbox):
    one = sandbox(listings=300)
    items = one.items("listing")
    by_name = {}
    for item in items:
        by_name.setdefault(item["awkward"], []).append(item["item"])
    assert all(i["address"] is None for i in by_name["null_address"])
    assert all(isinstance(i["accommodates"], str) for i in by_name["text_numbers"])
    assert all("nickname" not in i and "title" not in i for i in by_name["missing_name"])
    assert all("🏖" in i["title"] for i in by_name["emoji"])
    assert all(i["pictures"] == [] for i in by_name["no_pictures"])
    assert len(by_name["missing_name"]) == 6
    assert items[99]["id"] == items[100]["id"] and len({i["id"] for i in items}) == 299
    assert len({p.get("_id") is None for i in items for p in i["item"]["pictures"]}) == 2
    ids = {i["id"] for i in items}
    stays = one.items("reservation")
    assert all((s["item"]["listingId"] in ids) == (s["awkward"] != "unknown_listing") for s in stays)
    clean = sandbox(listings=300, clean=True)
    assert all(i["awkward"] is None for i in clean.items("listing") + clean.items("reservation"))


# ---- lists ----

def test_paging(sandbox):
    one = sandbox(listings=230, limits="none")
    token = one.token()
    assert [i["_id"] for i in all_pages(one, token)] == [i["id"] for i in one.items("listing")]
    assert [i["_id"] for i in all_pages(one, token, limit=7)] == [i["id"] for i in one.items("listing")]
    first = one.get("/v1/listings", token).json()
    assert (len(first["results"]), first["limit"], first["skip"], first["count"]) == (25, 25, 0, 230)
    assert one.get("/v1/listings", token, limit=50, skip=1000).json()["results"] == []
    for wrong in ({"limit": 101}, {"limit": 0}, {"limit": "ten"}, {"skip": -1}):
        answer = one.get("/v1/listings", token, **wrong)
        assert answer.status_code == 400 and set(answer.json()) == {"error", "message"}


def test_single_items_fields_and_ids(sandbox):
    one = sandbox(listings=40, limits="none")
    token = one.token()
    listing, stay = one.items("listing")[5], one.items("reservation")[5]
    assert one.get(f"/v1/listings/{listing['id']}", token).json() == listing["item"]
    assert one.get(f"/v1/reservations/{stay['id']}", token).json() == stay["item"]
    assert one.get("/v1/listings/nosuch", token).status_code == 404
    some = one.get("/v1/listings", token, fields="title address.city prices", limit=1, skip=5).json()["results"][0]
    item = listing["item"]
    assert some == {"_id": listing["id"], "title": item["title"], "address": {"city": item["address"]["city"]},
                    "prices": item["prices"]}
    few = one.get("/v1/reservations", token, limit=100).json()["results"]
    assert set(few[0]) <= {"_id", "listingId", "confirmationCode", "checkIn", "checkOut", "guest"}
    wanted = [i["id"] for i in one.items("listing")[3:6]]
    got = one.get("/v1/listings", token, ids=",".join(wanted)).json()
    assert [i["_id"] for i in got["results"]] == wanted and got["count"] == 3
    photos = one.get(f"/v1/listings/{listing['id']}/photos", token).json()["data"]
    assert photos == item["pictures"]


@pytest.mark.parametrize("operator,keeps", [
    ("$eq", lambda v, x: v == x), ("$ne", lambda v, x: v != x), ("$gt", lambda v, x: v > x), ("$gte", lambda v, x: v >= x),
    ("$lt", lambda v, x: v < x), ("$lte", lambda v, x: v <= x),
])
def test_filters_by_time(sandbox, operator, keeps):
    one = sandbox(listings=10, reservations=220, limits="none")
    token = one.token()
    everything = [i["item"] for i in one.items("reservation")]
    pivot = everything[40]["lastUpdatedAt"]
    filters = json.dumps([{"field": "lastUpdatedAt", "operator": operator, "value": pivot}])
    got = all_pages(one, token, "/v1/reservations", filters=filters, fields="lastUpdatedAt", sort="lastUpdatedAt")
    expected = sorted(i["lastUpdatedAt"] for i in everything if keeps(i["lastUpdatedAt"], pivot))
    assert [i["lastUpdatedAt"] for i in got] == expected and expected


def test_other_filters_and_sort(sandbox):
    one = sandbox(listings=10, reservations=200, limits="none", clean=True)
    token = one.token()
    everything = [i["item"] for i in one.items("reservation")]

    def ids(**filters):
        text = json.dumps([filters])
        return {i["_id"] for i in all_pages(one, token, "/v1/reservations", filters=text)}

    assert ids(field="nightsCount", operator="$between", **{"from": 3, "to": 5}) == {
        i["_id"] for i in everything if 3 <= i["nightsCount"] <= 5}
    assert ids(field="guest.fullName", operator="$contains", value="a") == {
        i["_id"] for i in everything if "a" in i["guest"]["fullName"]}
    assert ids(field="status", operator="$in", value=["canceled", "inquiry"]) == {
        i["_id"] for i in everything if i["status"] in ("canceled", "inquiry")}
    down = all_pages(one, token, "/v1/reservations", sort="-lastUpdatedAt", fields="lastUpdatedAt")
    assert [i["lastUpdatedAt"] for i in down] == sorted((i["lastUpdatedAt"] for i in everything), reverse=True)
    for wrong in ("{", "{}", '[{"field":"a","operator":"$near","value":1}]', '[{"operator":"$eq"}]'):
        assert one.get("/v1/reservations", token, filters=wrong).status_code == 400


# ---- tokens ----

def test_token_limit_is_five_a_day_per_key(sandbox):
    one = sandbox(listings=1)
    for _ in range(5):
        answer = one.mint("acct-1").json()
        assert answer["token_type"] == "Bearer" and answer["expires_in"] == 86400 and answer["scope"] == "open-api"
    refused = one.mint("acct-1")
    assert refused.status_code == 429 and set(refused.json()) == {"error", "message"}
    assert 86000 < int(refused.headers["Retry-After"]) <= 86400
    assert one.mint("acct-2").status_code == 200
    assert one.stats()["accounts"]["acct-1"]["tokens_minted"] == 5
    assert one.get("/v1/listings", answer["access_token"]).status_code == 200


def test_tokens_are_checked(sandbox):
    one = sandbox(listings=1, token_life="1s")
    assert one.mint("acct-1", secret="guessed").status_code == 401
    assert one.mint("nobody-1", secret="secret-1").status_code == 401
    assert one.mint("acct-1", grant_type="password").status_code == 400
    assert one.mint("acct-1", scope="booking_engine:api").status_code == 400
    for token in (None, "nonsense", "sbx-1-guessed"):
        answer = one.get("/v1/listings", token)
        assert answer.status_code == 401 and set(answer.json()) == {"error", "message"}
    for account in ("acct-1", "acct-2", "acct-3", "acct-4"):  # on a busy machine its second may be over before it was used
        began = time.monotonic()
        token = one.token(account)
        status = one.get("/v1/listings", token).status_code
        if time.monotonic() - began < 0.9:
            break
    assert status == 200
    wait_until(lambda: one.get("/v1/listings", token).status_code == 401, 10, "the token to expire", 0.1)
    assert one.stats()["accounts"][account]["tokens_minted"] == 1, "refused requests for tokens are not counted"


# ---- limits ----

def test_sliding_windows_are_exact(sandbox):
    one = sandbox(listings=1, limits="6/500ms,11/2s", in_flight=0)
    token = one.token()
    one.reset("log")
    end = time.monotonic() + 5

    def client(_):
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < end:
                one.get("/v1/listings", token, session)
                time.sleep(0.02)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))
    calls = one.log()
    served = [e["at_us"] for e in calls if e["status"] == 200]
    refused = [e["at_us"] for e in calls if e["status"] == 429]
    assert busiest(served, 500_000) == 6 and busiest(served, 2_000_000) == 11
    for at in refused:  # none was refused while there was room
        in_short = sum(at - 500_000 < t <= at for t in served)
        in_long = sum(at - 2_000_000 < t <= at for t in served)
        assert in_short == 6 or in_long == 11
    assert len(served) + len(refused) == len(calls) and len(refused) > 20
    windows = one.stats()["accounts"]["acct-1"]["windows"]
    assert windows[0]["max"] == busiest([e["at_us"] for e in calls], 500_000)


def test_limits_tell_what_is_left_and_when_to_come_back(sandbox):
    one = sandbox(listings=1, limits="3/1s,100/60s,1000/1h")
    token, other = one.token(), one.token("acct-2")
    for _ in range(10):
        since = len(one.log())
        answers = [one.get("/v1/listings", token) for _ in range(4)]
        refused = answers.pop()
        calls = [e["at_us"] for e in one.log()][since:]
        if calls[-1] - calls[0] < 900_000:
            break
        time.sleep(1.1)  # a busy machine took longer for the four than the window lasts
    for left, headers in zip((2, 1, 0), (a.headers for a in answers)):
        assert headers["X-RateLimit-Limit-Second"] == "3" and headers["X-RateLimit-Remaining-Second"] == str(left)
        assert headers["X-RateLimit-Limit-Minute"] == "100" and headers["X-RateLimit-Limit-Hour"] == "1000"
        assert headers["x-request-id"]
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
    assert set(refused.json()) == {"error", "message"}
    assert one.get("/v1/listings", other).status_code == 200, "another account has its own limits"
    wait_until(lambda: one.get("/v1/listings", token).status_code == 200, 5, "the window to move on", 0.1)


def test_two_tokens_of_an_account_share_its_limit(sandbox):
    one = sandbox(listings=1, limits="4/60s")
    tokens = [one.token(), one.token()]
    assert [one.get("/v1/listings", tokens[i % 2]).status_code for i in range(6)] == [200] * 4 + [429] * 2


def test_calls_in_flight_are_bounded(sandbox):
    one = sandbox(listings=1, limits="none", latency=f"{1000 * SLOWER}ms")  # all come before the first is answered
    token = one.token()
    one.reset("log")
    barrier = threading.Barrier(20)

    def client(_):
        with requests.Session() as session:
            session.trust_env = False
            barrier.wait()
            return one.get("/v1/listings", token, session).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(client, range(20)))
    calls = one.log()
    first_us, last_us = min(e["answered_us"] for e in calls if e["status"] == 200), max(e["at_us"] for e in calls)
    assert last_us > first_us or codes.count(200) == 15 and codes.count(429) == 5
    for call in calls:  # exactly where 15 are under way
        under_way = sum(e["status"] == 200 and e["at_us"] <= call["at_us"] < e["answered_us"] for e in calls if e is not call)
        assert under_way <= 15 and (call["status"] == 200 or under_way == 15), calls
    quick = [e for e in calls if e["status"] == 429]
    assert quick and all(e["answered_us"] - e["at_us"] < 800_000 * SLOWER for e in quick), "refused at once, not after the latency"
    assert one.get("/v1/listings", token).status_code == 200


def test_latency(sandbox):
    one = sandbox(listings=1, latency="150ms,50ms", limits="none")
    token = one.token()
    one.reset("log")
    for _ in range(8):
        one.get("/v1/listings", token)
    took = [(e["answered_us"] - e["at_us"]) / 1000 for e in one.log()]
    assert all(95 < t < 250 + 1000 * SLOWER for t in took) and max(took) - min(took) > 2
    one.settings(latency_ms=0, jitter_ms=0)
    one.reset("log")
    for _ in range(5):
        one.get("/v1/listings", token)
    assert min(e["answered_us"] - e["at_us"] for e in one.log()) < 90_000, "at once"


# ---- faults ----

def test_faults_come_as_ordered(sandbox):
    one = sandbox(listings=3, limits="none")
    token, other = one.token(), one.token("acct-2")

    def codes(n, token=token, path="/v1/listings"):
        return [one.get(path, token).status_code for _ in range(n)]

    one.fault(match="/v1/listings", status=503, times=2, skip=1)
    assert codes(5) == [200, 503, 503, 200, 200]
    one.fault(match="GET /v1/listings", status=500, account=2)
    assert codes(2) == [200, 200] and codes(2, other) == [500, 500]
    assert one.get("/v1/reservations", other).status_code == 200
    one.clear_faults()
    assert codes(2, other) == [200, 200]

    one.fault(match="/v1/listings", status=429, retry_after=3, times=1, body='{"error":"slow"}')
    answer = one.get("/v1/listings", token)
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "3" and answer.json() == {"error": "slow"}

    one.fault(match="/v1/listings", body='{"results":[{"_id"', times=1)
    answer = one.get("/v1/listings", token)
    assert answer.status_code == 200 and answer.text == '{"results":[{"_id"'

    one.fault(match="/v1/listings", abort=True, times=1)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{one.url}/v1/listings", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    one.fault(match="/oauth2/token", status=500, late=True, times=1)
    minted = one.stats()["tokens_minted"]
    assert one.mint("acct-1").status_code == 500
    assert one.stats()["tokens_minted"] == minted + 1, "late: the work was done, only its answer was lost"

    one.fault(match="/v1/listings", delay_ms=400, times=1)
    began = time.monotonic()
    assert codes(1) == [200] and time.monotonic() - began >= 0.395  # its clock ticks in milliseconds

    one.fault(match="/v1/listings", status=500, probability=0.5)
    some = codes(60)
    assert 10 < some.count(500) < 50
    one.clear_faults()
    faulty = [e for e in one.log() if e["fault"]]
    assert len(faulty) == 2 + 2 + 1 + 1 + 1 + 1 + 1 + some.count(500)
    assert [e["status"] for e in faulty if e["status"] == -1] == [-1], "a closed connection is logged as -1"


def test_a_fault_nobody_understands_is_refused(sandbox):
    one = sandbox(listings=1)
    for wrong in ({"mach": "/v1"}, {"match": 7}, {"status": "500"}, {"status": 7}, ["match"]):
        answer = one.session.post(f"{one.url}/_control/faults", json=wrong, timeout=10)
        assert answer.status_code == 400 and "error" in answer.json()
    assert one.control("GET", "/faults").json() == []


# ---- control ----

def test_changing_and_removing_items(sandbox):
    one = sandbox(listings=120, limits="none")
    token = one.token()
    items = one.items("listing")
    before = items[4]["item"]
    assert one.update(items[4]["id"], title="New & improved", prices={"basePrice": 1, "currency": "EUR"}) == 1
    after = one.get(f"/v1/listings/{items[4]['id']}", token).json()
    assert after["title"] == "New & improved" and after["lastUpdatedAt"] > before["lastUpdatedAt"]
    assert {k: after[k] for k in ("nickname", "address")} == {k: before[k] for k in ("nickname", "address")}
    assert one.update(items[100]["id"], title="Both") == 2, "the one that is there twice"
    filters = json.dumps([{"field": "lastUpdatedAt", "operator": "$gt", "value": before["lastUpdatedAt"]}])
    changed = {i["_id"] for i in all_pages(one, token, filters=filters)}
    assert {items[4]["id"], items[100]["id"]} <= changed
    assert one.remove(items[7]["id"]) == 1
    assert one.get(f"/v1/listings/{items[7]['id']}", token).status_code == 404
    assert len(all_pages(one, token)) == 119
    one.control("POST", "/update", {"append": {"_id": "fresh", "title": "Added"}})
    assert all_pages(one, token)[-1] == {"_id": "fresh", "title": "Added"}
    one.reset("items")
    assert one.items("listing") == items
    assert one.session.post(f"{one.url}/_control/update", json={"id": "nosuch"}, timeout=10).status_code == 404


def test_log_stats_and_reset(sandbox):
    one = sandbox(listings=1, limits="none")
    token = one.token()
    one.get("/v1/listings", token, limit=10, fields="_id title")
    one.get("/v1/listings")
    entries = one.log()
    assert [(e["method"], e["status"], e["account"]) for e in entries] == [
        ("POST", 200, "acct-1"), ("GET", 200, "acct-1"), ("GET", 401, None)]
    assert entries[1]["path"].startswith("/v1/listings?limit=10&fields=_id")
    times = [e["at_us"] for e in entries]
    assert times == sorted(times) and abs(times[0] / 1e6 - time.time()) < 30
    assert [e["seq"] for e in one.log(since=entries[1]["seq"])] == [entries[1]["seq"], entries[2]["seq"]]
    assert len(one.log(account="acct-1")) == 2
    assert one.stats()["status"] == {"200": 2, "401": 1}
    one.reset()
    assert one.log(since=entries[-1]["seq"] + 1) == [] and one.stats()["status"] == {}
    assert one.stats()["tokens_minted"] == 0 and one.get("/v1/listings", token).status_code == 200
    one.reset("tokens")
    assert one.get("/v1/listings", token).status_code == 401


def test_bench_path(sandbox):
    one = sandbox(limits="1/1h", latency="20ms")
    rows = one.get("/bench/items", rows=5).json()["results"]
    assert [r["id"] for r in rows] == [f"b-{i}" for i in range(5)] and rows[0]["price"] == 112.5
    later = one.get("/bench/items", rows=3, start=70).json()["results"]
    assert [r["id"] for r in later] == ["b-70", "b-71", "b-72"]
    assert one.get("/bench/items").json()["results"] == rows
    assert one.stats()["status"] == {"200": 3}


def test_bench_port(sandbox):
    one = sandbox(latency="60ms", bench_listen="127.0.0.1:0")
    with requests.Session() as session:
        session.trust_env = False
        for words, first, n in ("rows=2&start=40", "b-40", 2), ("rows=7", "b-0", 7), ("", "b-0", 5):
            began = time.monotonic()
            answer = session.get(f"{one.bench_url}/bench/items?{words}", timeout=10)
            assert time.monotonic() - began >= 0.055 and answer.headers["Content-Type"] == "application/json"
            ids = [r["id"] for r in answer.json()["results"]]
            assert ids[0] == first and len(ids) == n
    # Several in one packet, and a client that leaves before its answer.
    with socket.create_connection(one.bench_url.removeprefix("http://").split(":")) as raw:
        raw.sendall(b"GET /bench/items?rows=1 HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        got = b""
        while got.count(b"HTTP/1.1 200") < 3 or not got.endswith(b"]}"):
            got += raw.recv(4096)
        raw.sendall(b"GET /bench/items HTTP/1.1\r\n\r\n")
    wait_until(lambda: one.stats()["status"] == {"200": 6, "-1": 1}, 10, lambda: one.stats())


# ---- the program ----

def test_term_does_not_wait_for_the_latency(sandbox):
    one = sandbox(listings=1, latency="20s", limits="none")
    failed = []

    def client():
        with requests.Session() as session:
            try:
                session.get(f"{one.url}/bench/items", timeout=40)
            except requests.ConnectionError as e:
                failed.append(e)

    thread = threading.Thread(target=client)
    thread.start()
    wait_until(lambda: one.log(path="/bench/items"), 10, "the request")
    began = time.monotonic()
    one.signal(signal.SIGTERM)
    assert one.wait(15) == 0 and time.monotonic() - began < 15
    thread.join(60)
    assert len(failed) == 1


@pytest.mark.parametrize("words", [
    ["--limits", "15"], ["--limits", "0/1s"], ["--latency", "fast"], ["--token-limit", "5/24h,6/24h"],
    ["--anchor", "yesterday"], ["--listings", "-3"], ["--nosuch", "1"], ["--describe", "bob"], ["extra"],
])
def test_wrong_flags_are_one_clear_line(words):
    done = subprocess.run([BIN / "longshore-sandbox", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2, repr(done)
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""


def test_a_taken_port_is_said(sandbox):
    one = sandbox(listings=1)
    port = one.url.rsplit(":", 1)[1]
    done = subprocess.run([BIN / "longshore-sandbox", "--listen", f"127.0.0.1:{port}"], capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 1 and port in done.stderr and len(done.stderr.strip().splitlines()) == 1
