"""Webhooks on their way in: verified, queued once, and only then answered; and everything that must not get in."""

import base64
import hashlib
import json
import time

import pytest

from harness import wait_until
from harness.process import BIN, ROOT, SLOWER
from harness.webhooks import SECRET, event, hooked, mac, post, queued, raw, receiver, standard, url_secret, whsec


@pytest.fixture
def github(cluster, tmp_path):
    """A partner that signs the body alone, an integration with it, and a scheduler."""
    hooked(tmp_path / "drivers", "acme", "github")
    hooked(tmp_path / "drivers", "chat", "slack")
    cluster.add_drivers(tmp_path / "drivers")
    integration = receiver(cluster, "acme", {"webhook_secret": SECRET})
    return integration, cluster.scheduler()


def signed(body, secret=SECRET):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return data, {"X-Hub-Signature-256": "sha256=" + mac("sha256", secret, data).hexdigest()}


def test_an_event_becomes_one_job(cluster, github):
    integration, scheduler = github
    path = f"/webhooks/acme/{integration}"
    data, headers = signed(event("e-1", at="2026-11-21T08:15:30Z", text="ä \u2028 \"quoted\"\n", big=9007199254740993))
    first = post(scheduler, path, data, headers)
    again = post(scheduler, path, data, headers)
    assert (first.status_code, first.json()) == (202, {"accepted": 1, "duplicates": 0}), first.text
    assert (again.status_code, again.json()) == (202, {"accepted": 1, "duplicates": 1})
    (job,) = queued(cluster, "acme")
    assert job["task"] == "process_webhook" and job["integration_id"] == integration and job["lane"] == "normal"
    assert job["id"] == job["header"] and job["id"].startswith("wh-")
    args = job["args"]
    assert args["event"] == "thing.changed" and args["event_id"] == "e-1" and args["believed"] is True
    assert args["happened_us"] == 1795248930000000 and abs(args["received_us"] / 1e6 - time.time()) < 60
    assert args["body"] == json.loads(data)
    assert b'"big": 9007199254740993' in cluster.redis.client.zrange("ready:{acme}:normal", 0, -1)[0]
    ttl = cluster.redis.client.ttl(f"seen:{{acme}}:wh:{integration}:{job['id'][3:]}")
    assert 86000 < ttl <= 86400

    data, headers = signed(event(name="key.revoked"))
    assert post(scheduler, path, data, headers).status_code == 202
    assert [j["args"]["event"] for j in queued(cluster, "acme", ["high"])] == ["key.revoked"]
    data, headers = signed({"nothing": "known"})  # kept, and known by its bytes
    for duplicates in (0, 1):
        assert post(scheduler, path, data, headers).json()["duplicates"] == duplicates
    unknown = queued(cluster, "acme")[-1]
    assert unknown["args"]["event"] == "" and unknown["args"]["event_id"].startswith("hash:")
    metrics = scheduler.get("/metrics").text
    assert 'webhooks_received_total{event_type="thing.changed",partner="acme"} 2' in metrics
    assert 'webhooks_received_total{event_type="other",partner="acme"} 2' in metrics
    assert 'webhooks_duplicates_total{partner="acme"} 2' in metrics
    assert 'webhook_intake_seconds_count{partner="acme"} 5' in metrics
    line = next(line for line in scheduler.log_text().splitlines() if f"job={job['id']}" in line)
    assert "event=webhook_received" in line and f"integration={integration}" in line and "type=thing.changed" in line
    assert "quoted" not in scheduler.log_text() and SECRET not in scheduler.log_text()

    # What Slack asks before it sends anything: answered, once it is known to be Slack's, and no event.
    chat = receiver(cluster, "chat", {"webhook_secret": SECRET})
    hello = b'{"type": "url_verification", "challenge": "3eZbrw1a"}'
    for age, secret, code in (0, SECRET, 200), (0, "another", 401), (400, SECRET, 401), (-400, SECRET, 401):
        at = str(int(time.time()) - age)
        proof = "v0=" + mac("sha256", secret, f"v0:{at}:".encode() + hello).hexdigest()
        answer = post(scheduler, f"/webhooks/chat/{chat}", hello, {"X-Slack-Signature": proof, "X-Slack-Request-Timestamp": at})
        assert answer.status_code == code and (answer.text == "3eZbrw1a") == (code == 200), answer.text
    assert queued(cluster, "chat") == []


def test_what_must_not_get_in(cluster, github):
    """Each is answered as it is documented, and nothing of it is queued."""
    integration, scheduler = github
    path = f"/webhooks/acme/{integration}"
    data, headers = signed(event())

    def refused(status, error, path=path, data=data, headers=headers, **more):
        answer = post(scheduler, path, data, headers, **more)
        assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
        return answer

    refused(401, "bad_signature", data=data + b" ")
    refused(401, "bad_signature", headers={"X-Hub-Signature-256": "sha256=" + "0" * 64})
    refused(401, "missing_signature", headers={})
    refused(401, "missing_signature", headers={"X-Hub-Signature-256": "sha1=" + "0" * 64})
    other = receiver(cluster, "acme", {"webhook_secret": "another one's secret"})
    nothing = receiver(cluster, "acme")
    wrong = refused(401, "bad_signature", f"/webhooks/acme/{other}")
    none = refused(401, "bad_signature", f"/webhooks/acme/{nothing}")  # nobody is told that there is no secret
    assert wrong.text == none.text and sorted(wrong.headers) == sorted(none.headers)
    known = refused(404, "unknown_integration", f"/webhooks/acme/{nothing + 1}")
    for wild in ("/webhooks/acme", f"/webhooks/nobody/{integration}", f"/webhooks/weather/{integration}", f"/webhooks/guesty/{integration}",
                 f"/webhooks/acme/0{integration}", f"/webhooks/acme/{integration}/", f"/webhooks/acme/{integration}/x/y",
                 f"/webhooks/acme/{integration}/secret", f"/webhooks//acme/{integration}",
                 f"/webhooks/acme%2F{integration}", "/webhooks/acme/-1", "/webhooks/acme/99999999999999999999", "/webhooks/", "/webhooks/acme/"):
        assert refused(404, "unknown_integration", wild).text == known.text
    for wild in (f"/webhooks/acme/%3{integration}", f"/webhooks/../webhooks/acme/{integration}", f"/webhooks/./acme/{integration}", f"/webhooks/acme/{integration}%00",
                 f"/%77ebhooks/acme/{integration}", f"/webhooks/acme/{integration};x", f"/WEBHOOKS/acme/{integration}"):
        got = raw(scheduler, f"POST {wild} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Hub-Signature-256: {headers['X-Hub-Signature-256']}\r\n"
                             f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        assert got.split(b" ")[1] in (b"404", b"400"), (wild, got)

    for text in (b"", b"{", b"nonsense", b"{} {}", b"\xff\xfe", b"[" * 70 + b"]" * 70, b'{"a":"\\u0000"}'):
        refused(400, "unparseable", data=text, headers=signed(text)[1])
    deep = b"[" * 63 + b"]" * 63
    refused(413, "too_large", data=deep, headers=signed(deep)[1])
    refused(415, "content_type", content_type="multipart/form-data; boundary=x")
    form = b"a=1&b=%zz"
    refused(400, "unparseable", data=form, headers=signed(form)[1], content_type="application/x-www-form-urlencoded")
    large = b'{"a":"' + b"x" * (1024 * 1024 - 100) + b'"}'  # with its job it is over the bound of jobs
    refused(413, "too_large", data=large, headers=signed(large)[1])
    assert post(scheduler, path, b"x" * (1024 * 1024 + 1), headers).status_code == 413
    assert scheduler.get(path).status_code == 405
    assert queued(cluster, "acme") == []

    metrics = scheduler.get("/metrics").text
    for error in ("bad_signature", "missing_signature", "no_secret", "unparseable", "content_type", "too_large", "unknown_integration"):
        assert f'webhook_failures_total{{error_type="{error}",partner="acme"}}' in metrics, error
    assert 'webhook_failures_total{error_type="unknown_integration",partner="unknown"}' in metrics
    assert post(scheduler, path, data, headers).status_code == 202  # after all of it


def test_requests_that_can_be_read_in_two_ways(cluster, github):
    integration, scheduler = github
    data, headers = signed(event())
    sign = f"X-Hub-Signature-256: {headers['X-Hub-Signature-256']}\r\n"
    length = f"Content-Length: {len(data)}\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    start = f"POST /webhooks/acme/{integration} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    again = (start + sign + length + "\r\n").encode() + data  # what would be smuggled behind it

    def status(head, body):
        got = raw(scheduler, head.encode() + b"\r\n" + body)
        return got.split(b" ")[1], got.count(b"HTTP/1.1 ")

    assert status(start + sign + length + "Transfer-Encoding: chunked\r\n", chunked + again) == (b"400", 1)
    assert status(start + sign + length + "Content-Length: 1\r\n", data + again) == (b"400", 1)
    assert status(start + sign + "Content-Length: +5\r\n", data + again)[0] in (b"400", b"413")
    assert status(start + sign + "Transfer-Encoding: xchunked\r\n" + length, data + again) == (b"400", 1)
    get = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
    assert status(get + f"Content-Length: {len(again)}\r\n", again) == (b"400", 1)
    assert status(start + sign + sign + length + "Connection: close\r\n", data)[0] == b"400"
    assert status(start + sign + length + "Content-Type: text/plain\r\nConnection: close\r\n", data)[0] == b"400"
    assert queued(cluster, "acme") == []
    assert status(start + sign + "Transfer-Encoding: chunked\r\nConnection: close\r\n", chunked)[0] == b"202"
    assert len(queued(cluster, "acme")) == 1


def test_several_secrets_are_good_at_once(cluster):
    """A list, what was good before, and for a day what a rotation took the place of; a new one counts at once."""
    sandbox = cluster.sandbox(listings=1, reservations=0)
    integration = cluster.integration(sandbox)
    scheduler = cluster.scheduler()
    first, second, third, old, never = (whsec(f"{n} secret of a partner.........".encode()) for n in ("first", "second", "third", "old", "no"))

    def rotate(**secrets):
        credentials = {"client_id": "acct-1", "client_secret": "secret-1", **secrets}
        cluster.longshore("integration", "rotate", integration, "--credentials", "-", input=json.dumps(credentials))

    def status(secret):
        data = json.dumps(event()).encode()
        return post(scheduler, f"/webhooks/guesty/{integration}", data, standard(secret, data)).status_code

    assert status(first) == 401
    rotate(webhook_secret=[first, second], webhook_secret_previous=old)
    wait_until(lambda: status(first) == 202, 5, "the first secret")  # looked for anew at most once a second
    assert [status(s) for s in (second, old, never)] == [202, 202, 401]
    rotate(webhook_secret=third)
    wait_until(lambda: status(third) == 202, 5, "the new secret")
    assert [status(s) for s in (first, never)] == [202, 401]

    item = sandbox.items("listing")[0]["id"]  # and as the simulated Guesty sends them
    tell = {"url": f"http://127.0.0.1:{scheduler.port}/webhooks/guesty/{integration}", "event": "listing.updated", "id": item}
    told = sandbox.control("POST", "/webhook", {**tell, "secret": third, "message": "msg_x"}).json()
    assert (told["status"], json.loads(told["answer"])) == (202, {"accepted": 1, "duplicates": 0})
    args = queued(cluster, "guesty")[-1]["args"]
    assert args["event_id"] == "msg_x" and args["body"]["listing"]["_id"] == item and args["happened_us"] <= args["received_us"]
    assert sandbox.control("POST", "/webhook", {**tell, "secret": never}).json()["status"] == 401


def test_while_a_server_is_away(cluster, github):
    """Without Postgres whoever was seen lately gets in; of the others nothing is known, and without Redis nobody does: the partner is asked to come again."""
    integration, scheduler = github
    other = receiver(cluster, "acme", {"webhook_secret": SECRET})
    assert post(scheduler, f"/webhooks/acme/{integration}", *signed(event())).status_code == 202
    cluster.postgres.stop()
    try:
        assert post(scheduler, f"/webhooks/acme/{integration}", *signed(event())).status_code == 202
        assert post(scheduler, f"/webhooks/acme/{integration}", *signed(event(), "wrong")).status_code == 401
        answer = post(scheduler, f"/webhooks/acme/{other}", *signed(event()))
        assert (answer.status_code, answer.json()["error"]) == (503, "postgres_down") and int(answer.headers["Retry-After"]) > 0
    finally:
        cluster.postgres.start()
    wait_until(lambda: post(scheduler, f"/webhooks/acme/{other}", *signed(event())).status_code == 202, 20, "Postgres is back")
    cluster.longshore("integration", "pause", integration)  # still takes them in
    assert post(scheduler, f"/webhooks/acme/{integration}", *signed(event())).status_code == 202
    assert len(queued(cluster, "acme")) == 4

    cluster.redis.kill9()
    answer = post(scheduler, f"/webhooks/acme/{integration}", *signed(event("after")))
    assert (answer.status_code, answer.json()["error"]) == (503, "redis_down") and int(answer.headers["Retry-After"]) > 0
    cluster.redis.start()
    wait_until(lambda: post(scheduler, f"/webhooks/acme/{integration}", *signed(event("after"))).status_code == 202, 20 * SLOWER, "Redis is back")
    assert [job["args"]["event_id"] for job in queued(cluster, "acme")].count("after") == 1 and len(queued(cluster, "acme")) == 5


def test_schemes_that_sign_nothing_are_not_believed(cluster, tmp_path):
    hooked(tmp_path / "drivers", "byurl", "url_secret")
    hooked(tmp_path / "drivers", "bynone", {"scheme": "none", "i_know": True})
    hooked(tmp_path / "drivers", "bybasic", "basic")
    hooked(tmp_path / "drivers", "bytoken", {"scheme": "header_token", "header": "X-Token", "prefix": "Token "})
    cluster.add_drivers(tmp_path / "drivers")
    secret, stored = url_secret()
    byurl = receiver(cluster, "byurl", {"webhook_secret": stored})
    bynone = receiver(cluster, "bynone")
    bybasic = receiver(cluster, "bybasic", {"webhook_secret": "us:pass:word"})
    bytoken = receiver(cluster, "bytoken", {"webhook_secret": "a token of theirs"})
    scheduler = cluster.scheduler()

    def status(path, **headers):
        return post(scheduler, path, event(), headers).status_code

    assert status(f"/webhooks/byurl/{byurl}/{secret}") == 202 and status(f"/webhooks/bynone/{bynone}") == 202
    assert status(f"/webhooks/byurl/{byurl}") == 401 and status(f"/webhooks/byurl/{byurl}/{secret[:-1]}") == 401
    assert status(f"/webhooks/byurl/{byurl}/{stored}") == 404 and status(f"/webhooks/bynone/{bynone}/{secret}") == 404
    basic = base64.b64encode(b"us:pass:word").decode()
    assert status(f"/webhooks/bybasic/{bybasic}", Authorization=f"Basic {basic}") == 202
    refused = post(scheduler, f"/webhooks/bybasic/{bybasic}", event(), {"Authorization": "Basic " + base64.b64encode(b"us:x").decode()})
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Basic")
    assert status(f"/webhooks/bytoken/{bytoken}", **{"X-Token": "Token a token of theirs"}) == 202
    assert status(f"/webhooks/bytoken/{bytoken}", **{"X-Token": "a token of theirs"}) == 401
    assert [queued(cluster, p)[0]["args"]["believed"] for p in ("byurl", "bynone", "bybasic", "bytoken")] == [False, False, True, True]
    assert secret not in scheduler.log_text()


def test_one_address_for_all_customers(cluster, tmp_path):
    """The app's signature first, then whose each event is; and many events in one delivery."""
    hooked(tmp_path / "drivers", "app", {"scheme": "slack"}, records="events", integration={"path": "account", "setting": "account"})
    cluster.add_drivers(tmp_path / "drivers")
    receiver(cluster, "app", {"webhook_secret": SECRET}, company=False)
    ours = receiver(cluster, "app", account="a-1")
    shared = [receiver(cluster, "app", account="a-2") for _ in range(2)]
    scheduler = cluster.scheduler()

    def send(body, path="/webhooks/app", at=None, secret=SECRET):
        data, ts = json.dumps(body).encode(), str(int(at or time.time()))
        made = "v0=" + mac("sha256", secret, f"v0:{ts}:".encode() + data).hexdigest()
        return post(scheduler, path, data, {"X-Slack-Signature": made, "X-Slack-Request-Timestamp": ts})

    challenge = send({"type": "url_verification", "challenge": "3eZbrw1a"})
    assert (challenge.status_code, challenge.text) == (200, "3eZbrw1a")
    assert send({"type": "url_verification", "challenge": "3eZbrw1a"}, secret="x").status_code == 401
    events = [event("e1", account="a-1"), event("e2", account="a-2"), event("e3", account="nobody's"), event("e1", account="a-1")]
    assert send({"events": events}).json() == {"accepted": 4, "duplicates": 1}
    got = sorted((job["integration_id"], job["args"]["event_id"]) for job in queued(cluster, "app"))
    assert got == sorted([(ours, "e1"), (shared[0], "e2"), (shared[1], "e2")])
    assert send({"events": [event(account="nobody's")]}).status_code == 404
    assert send({"events": []}).json() == {"accepted": 0, "duplicates": 0}
    assert send({"events": [event(account="a-1")] * 5001}).status_code == 413
    many = [event(f"m{n}", account="a-1") for n in range(1000)]
    assert send({"events": many}).json() == {"accepted": 1000, "duplicates": 0}
    for off in (-301, 360):  # signed rightly, but too long ago, or ahead
        answer = send({"events": [event(account="a-1")]}, at=time.time() + off)
        assert (answer.status_code, answer.json()["error"]) == (401, "old_signature")
    assert send({"events": [event(account="a-1")]}, at=time.time() - 290).status_code == 202


def test_a_partners_own_c_verifies(cluster, tmp_path):
    """By the C of a folder that only tests have (tests/drivers/hooked), in a scheduler that is linked with it."""
    hooked(tmp_path / "plain", "hooked", "github")  # to the command, which has not that C, it is a partner without
    manifest = tmp_path / "plain" / "hooked" / "manifest.json"
    sandbox = cluster.sandbox(listings=1)
    manifest.write_text(manifest.read_text().replace("http://127.0.0.1:1", sandbox.url).replace('"/things"', '"/bench/items"'))
    cluster.add_drivers(tmp_path / "plain")
    one, other = (receiver(cluster, "hooked", {"user_id": "u", "key": key}) for key in ("the key of one", "the key of another"))
    scheduler = cluster.make_scheduler(import_every="0")
    scheduler.argv[0] = str(BIN.parent / "test" / "hooked-scheduler")
    scheduler.env["LONGSHORE_DRIVERS"] = str(ROOT / "tests" / "drivers")
    scheduler.start().wait_ready(60)

    def send(body, integration=one, key="the key of one"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return post(scheduler, f"/webhooks/hooked/{integration}", data, {"X-Proof": hashlib.sha256(key.encode() + b":" + data).hexdigest()})

    body = {"event": "thing.changed", "type": "of the body", "id": "e-1", "thing": {"id": "t-7"}, "at": 1700000000}
    assert [send(body).json() for _ in range(2)] == [{"accepted": 1, "duplicates": n} for n in range(2)]
    (job,) = queued(cluster, "hooked")
    args = job["args"]
    # What the C says goes before the manifest's paths.
    assert (args["event"], args["external_id"], args["happened_us"], args["event_id"]) == ("thing.changed", "t-7", 1700000000000000, "e-1")
    assert args["believed"] is True and args["body"] == body and job["integration_id"] == one
    assert send({**body, "event": "key.revoked", "id": "e-2"}).status_code == 202
    assert [j["args"]["event"] for j in queued(cluster, "hooked", ["high"])] == ["key.revoked"]

    forged = send(body, key="the key of another")
    assert (forged.status_code, forged.json()["error"]) == (401, "bad_signature") and send(body, other).text == forged.text
    for wrong in ({"id": "e-3"}, b"nonsense"):
        assert (send(wrong).status_code, send(wrong).json()["error"]) == (400, "unparseable")
    data, proof = b'{"event":"thing.changed","id":"e-4"}', "X-Proof: x\r\n"
    doubled = raw(scheduler, f"POST /webhooks/hooked/{one} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{proof}{proof}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    assert b" 400 " in doubled and b"doubled_header" in doubled
    assert send(body, other, "the key of another").json() == {"accepted": 1, "duplicates": 0}
    # Another key is known soon; the one before is good for a while beside it.
    cluster.longshore("integration", "rotate", one, "--credentials", "-", input=json.dumps({"user_id": "u", "key": "a new key"}))
    wait_until(lambda: send({**body, "id": "e-5"}, key="a new key").status_code == 202, 20, "the new key")
    assert send({**body, "id": "e-6"}).status_code == 202
    assert send({**body, "id": "e-7"}, key="neither").status_code == 401
    assert len(queued(cluster, "hooked")) == 5
    assert "the key of" not in scheduler.log_text()
    scheduler.stop()
