"""Notifications: who is told what by which channel, once; the partners' books say what was sent."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import shutil
import textwrap
import time

import pytest
import requests

from harness import MailServer, wait_until
from harness.process import ROOT, SLOWER

TEMPLATE = {
    "email": {"subject": "Welcome, {guest.name}", "text": "Room {room}: {{the}} door code is {code}.", "html": "<p>{guest.name}: <b>{code}</b></p>"},
    "sms": {"text": "{guest.name}, room {room}: {code}"},
    "slack": {"text": "*{guest.name}* has arrived"},
}
VALUES = {"guest": {"name": "Ann\r\nBcc: all@example.com <b>&"}, "room": 12, "code": "0417"}


class Desk:
    """A company, its channels at the sandbox, and a template."""

    def __init__(self, cluster, tmp_path):
        self.cluster, self.tmp = cluster, tmp_path
        self.sandbox = cluster.sandbox()
        self.company = cluster.company()
        self.sendgrid = self.add("sendgrid", "/sendgrid/v3", {"api_key": "SG.1", "webhook_secret": ec_public()}, "from=desk@example.com")
        self.twilio = self.add("twilio", "/twilio/2010-04-01", {"username": "AC1", "password": "token-1", "webhook_secret": "token-1"}, "account=AC1", "from=+15005550006")
        self.slack = self.add("slack", "/slack/services", {"api_key": "T1/B1/X1"})
        self.template("arrival", TEMPLATE)

    def add(self, partner, base, credentials, *sets):
        words = [w for s in sets for w in ("--set", s)]
        return int(self.cluster.longshore("integration", "add", "--company", self.company, "--partner", partner, "--base-url", self.sandbox.url + base,
                                          "--credentials", "-", *words, input=json.dumps(credentials)).out.split()[-1])

    def template(self, name, parts):
        file = self.tmp / f"{name}.json"
        file.write_text(json.dumps(parts))
        self.cluster.longshore("notify", "template", name, file)

    def channels(self, *ids, **more):
        words = [w for k, v in more.items() for w in (f"--{k}", v)]
        self.cluster.longshore("notify", "channels", *ids, "--company", self.company, *words)

    def notify(self, to, **more):
        args = {"company_id": int(self.company), "template": "arrival", "to": to, "values": VALUES, **more.pop("args", {})}
        self.cluster.push({"task": "notify", "args": args, **more}, "queue:{longshore}")

    def books(self, kind):
        return self.sandbox.control("GET", "/books").json().get(kind, [])

    def outcomes(self):
        return self.cluster.sql("SELECT * FROM notification_outcomes ORDER BY id, attempt")

    def wait(self, wanted, timeout=20):
        def seen():
            return [(o["channel"], o["outcome"], o["state"]) for o in self.outcomes()]
        wait_until(lambda: seen() == wanted, timeout * SLOWER, lambda: f"{wanted}: {[(s, o['error']) for s, o in zip(seen(), self.outcomes())]}\n{self.cluster.describe()}")
        return self.outcomes()


@pytest.fixture
def desk(cluster, tmp_path):
    d = Desk(cluster, tmp_path)
    cluster.scheduler()
    cluster.worker().wait_for_log("event=started", 20 * SLOWER)
    return d


def test_told_once_by_the_first_channel_that_takes_it(cluster, desk):
    desk.channels(desk.sendgrid, desk.twilio, desk.slack)
    desk.notify({"email": "ann@example.com", "phone": "+351912345678"}, idempotency_key="stay-1")
    (sent,) = desk.wait([("email", "done", "sent")])
    (mail,) = desk.books("mails")
    assert mail["to"] == "ann@example.com" and mail["from"] == "desk@example.com" and sent["external_id"] == mail["id"] + ".sandbox"
    assert mail["subject"] == "Welcome, Ann  Bcc: all@example.com <b>&", "a line stays one"
    assert mail["text"] == "Room 12: {the} door code is 0417." and mail["reference"] == str(sent["request_id"])
    assert mail["html"] == "<p>Ann\nBcc: all@example.com &lt;b&gt;&amp;: <b>0417</b></p>"
    # Asked again, though Redis has lost that it ever was, it is the same one, in whatever order its values stand; with others the key is
    # refused.
    cluster.wait_idle(partners=("longshore", "sendgrid"))
    cluster.redis.client.flushall()
    desk.notify({"phone": "+351912345678", "email": "ann@example.com"}, idempotency_key="stay-1", args={"values": dict(reversed(VALUES.items()))})
    cluster.wait_idle(partners=("longshore",))
    assert not cluster.redis.client.exists("dead:{longshore}")
    for values in (VALUES, {**VALUES, "room": 13}):
        cluster.redis.client.flushall()
        desk.notify({"email": "ann@example.com", "phone": "+351912345678"}, idempotency_key="stay-1", args={"values": values})
        cluster.wait_idle(partners=("longshore",))
    # The mail is refused: the text goes, and of one whom neither reaches the room is told.
    desk.notify([{"email": "refused@example.com", "phone": "+351912345679"}, {"email": "refused@example.com", "phone": "+15005550001", "id": "g-3"}])
    rows = desk.wait([("email", "done", "sent"), ("email", "failed", "sent"), ("sms", "done", "sent"),
                      ("email", "failed", "sent"), ("sms", "failed", "sent"), ("slack", "done", "sent")])
    assert [t["to"] for t in desk.books("texts")] == ["+351912345679"] and desk.books("texts")[0]["body"].startswith("Ann\nBcc")
    assert [p["text"] for p in desk.books("posts")] == ["*Ann\nBcc: all@example.com &lt;b&gt;&amp;* has arrived"]
    assert "21211" in json.dumps(rows, default=str) or "Invalid 'To'" in rows[4]["error"], rows[4]
    cluster.wait_idle(partners=("longshore", "sendgrid", "twilio", "slack"))
    assert len(desk.books("mails")) == 1
    # Refused, and gone on to the next: the letter of the first, replayed, tells nobody a second time; that of the last does, and ends it.
    desk.sandbox.fault(match="POST /sendgrid", status=400, times=1)
    desk.notify({"email": "bob@example.com", "phone": "+351912345670"})
    known = [(o["channel"], o["outcome"], o["state"]) for o in rows]
    desk.wait(known + [("email", "failed", "sent"), ("sms", "done", "sent")])
    desk.channels(desk.sendgrid)
    desk.sandbox.fault(match="POST /sendgrid", status=400, times=1)
    desk.notify({"email": "carl@example.com"})
    desk.wait(known + [("email", "failed", "sent"), ("sms", "done", "sent"), ("email", "failed", "failed")])
    for who in ("bob", "carl"):
        letter = f"SELECT d.id FROM dead_letters d JOIN outbound_requests o ON o.letter_id = d.id WHERE o.args ->> 'to' = '{who}@example.com'"
        wait_until(lambda: cluster.sql(letter), 20 * SLOWER, cluster.describe)
        cluster.longshore("dead", "replay", cluster.one(letter))
    rows = desk.wait(known + [("email", "failed", "sent"), ("sms", "done", "sent"), ("email", "done", "sent")])
    wait_until(lambda: "it would be told twice" in (desk.outcomes()[-3]["error"] or ""), 20 * SLOWER, lambda: str(desk.outcomes()))
    assert [m["to"] for m in desk.books("mails")] == ["ann@example.com", "carl@example.com"]
    # What is wrong is refused before anything is sent, with its name and its place.
    wrong = [({"email": "ann@example.com"}, {"values": {"room": 1}}, "template arrival: email.subject, line 1, column 10: {guest.name} has no value"),
             ({"email": "ann.example.com"}, {}, "args.to.email has no @"), ({"phone": "0912 345"}, {}, "args.to.phone must begin with +"),
             ({"email": "a@example.com\nBcc: b@example.com"}, {}, "holds a control character"), ({}, {"template": "depature"}, 'no template "depature"'),
             ([{"email": "a@example.com"}, {"mail": "b@example.com"}], {}, "args.to[1].mail is not known"),
             ({"email": "a@example.com"}, {"values": {**VALUES, "code": "4111 1111 1111 1111"}}, "a card number stands"),
             ({"email": "a@example.com"}, {"template": "halves", "values": {"a": "41111111", "b": "11111111"}}, "holds what looks like a card number")]
    cluster.longshore("notify", "template", "halves", "-", input='{"email": {"subject": "x", "text": "{a} {b}"}}')
    typo = cluster.longshore.run("notify", "template", "typo", "-", input='{"emial": {"text": "x"}}')
    assert typo.code == 2 and "did you mean email?" in typo.err, typo
    before = len(desk.outcomes())
    for to, args, _ in wrong:
        desk.notify(to, args=args)
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters WHERE task = 'notify'") == len(wrong) + 1, 20 * SLOWER,
               lambda: f"{cluster.sql('SELECT task, rule, error FROM dead_letters')}{cluster.describe()}")
    told = " ".join(r["error"] for r in cluster.sql("SELECT error FROM dead_letters WHERE task = 'notify'"))
    assert all(text in told for _, _, text in wrong) and "has this key and other args" in told, told
    assert len(desk.outcomes()) == before and len(desk.books("mails")) == 2


def test_what_nobody_knows_is_not_sent_again(cluster, desk):
    desk.channels(desk.sendgrid, desk.twilio)
    # Looked at in the end: one that waits since its deadline raises an alert, which goes with it.
    cluster.sql("INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry, fingerprint, source, lane, steps, deadline_at, queued_at, queued_generation)"
                f" VALUES ('twilio', {desk.twilio}, 'send', 'pending', '{{}}', 'late', '', 'job', 'normal', 1, now() - interval '1 hour', now(), 1000000)")
    # It arrived, and its answer is lost: no other channel is tried, unless whoever asks would rather have it twice.
    desk.sandbox.fault(match="POST /sendgrid", abort=True, late=True, times=2)
    desk.notify({"email": "ann@example.com", "phone": "+351912345678"})
    desk.wait([("email", "unknown", "unknown")])
    assert not desk.books("texts") and len(desk.books("mails")) == 1
    desk.notify({"email": "bob@example.com", "phone": "+351912345679"}, args={"rather_twice": True})
    desk.wait([("email", "unknown", "unknown"), ("email", "unknown", "sent"), ("sms", "done", "sent")])
    # A person looks, and says that it was not sent: then it is, once.
    request = desk.outcomes()[0]["request_id"]
    cluster.longshore("request", "resolve", request, "done", "--kept", '{"message_id": "seen"}')
    desk.wait([("email", "done", "sent"), ("email", "unknown", "sent"), ("sms", "done", "sent")])
    assert len(desk.books("mails")) == 2 and len(desk.books("texts")) == 1
    # At most one an hour to each: the next is put off, not lost; what is urgent goes at once.
    desk.channels(desk.sendgrid, rate="1/1h")
    carls = lambda: [m["to"] for m in desk.books("mails")].count("carl@example.com")
    desk.notify([{"email": "carl@example.com"}])
    wait_until(lambda: carls() == 1, 20 * SLOWER, lambda: str(desk.books("mails")))
    desk.notify([{"email": "carl@example.com"}])
    desk.notify([{"email": "carl@example.com"}], args={"urgent": True})
    wait_until(lambda: carls() == 2, 20 * SLOWER, lambda: str(desk.books("mails")))
    late = "SELECT count(*) FROM notifications WHERE recipient = 'carl@example.com' AND send_at > created_at + interval '50 min'"
    wait_until(lambda: cluster.one(late) == 1, 20 * SLOWER, lambda: str(desk.outcomes()))
    # Quiet hours: all the day but a minute, twelve hours from now.
    (hour,) = [int(cluster.one("SELECT extract(hour FROM now() AT TIME ZONE 'UTC' + interval '12 hours')::int"))]
    desk.channels(desk.sendgrid, quiet=f"{hour:02}:01-{hour:02}:00", tz="UTC")
    desk.notify([{"email": "dora@example.com"}])
    wait_until(lambda: cluster.one("SELECT count(*) FROM notifications WHERE recipient = 'dora@example.com' AND send_at > now() + interval '10 hours'") == 1,
               20 * SLOWER, "it waits for the end of the quiet")
    late = "SELECT count(*) FROM alerts WHERE kind = 'outbound_late' AND scope = 'partner:twilio' AND state = 'open'"
    wait_until(lambda: cluster.one(late) == 1, 20 * SLOWER, cluster.describe)
    cluster.sql("DELETE FROM outbound_requests WHERE entry = 'late'")
    wait_until(lambda: cluster.one(late) == 0, 20 * SLOWER, cluster.describe)


@pytest.fixture
def mail_server(cluster):
    """Its port, and what happened there."""
    server = cluster.add(MailServer(cluster.folder)).start()
    return server.port, server.log


def test_mails_by_smtp(cluster, desk, mail_server, tmp_path):
    port, log = mail_server
    assert "begins with neither smtp:// nor smtps://" in cluster.longshore.run(
        "integration", "add", "--company", desk.company, "--partner", "smtp", "--base-url", "http://localhost", "--credentials", "-", input="{}").err
    add = lambda *more: int(cluster.longshore("integration", "add", "--company", desk.company, "--partner", "smtp", "--base-url", f"smtp://127.0.0.1:{port}", "--credentials", "-",
                                              "--set", "from=desk@example.com", "--set", "from_name=The Désk", *more, input=json.dumps({"username": "", "password": ""})).out.split()[-1])
    smtp = add("--set", "tls=none")
    desk.channels(smtp, desk.twilio)
    to = lambda name, n: {"email": f"{name}@example.com", "phone": f"+35191234567{n}"}
    # Told; refused for good, so that the next channel has its turn; not now, or lost within the message, so that it is tried again; lost behind it.
    desk.notify([to("ann", 1), to("echo", 2), to("later", 3), to("cut", 6), to("gone", 4)])
    rows = lambda: {(o["recipient"].split("@")[0], o["channel"]): o for o in desk.outcomes()}
    state = lambda who, channel: rows().get((who, channel), {}).get("outcome")
    wait_until(lambda: state("ann", "email") == "done" and state("echo", "sms") == "done" and state("gone", "email") == "unknown",
               20 * SLOWER, lambda: f"{rows()}{cluster.describe()}")
    assert rows()[("ann", "email")]["external_id"] == "250 2.0.0 Ok: queued as 4FBX1"
    assert rows()[("echo", "email")]["error"].endswith("status 550: 550 5.1.1 <***>: no such user")

    def later_is_done():
        """Within half a minute, or sooner where it is hurried."""
        for r in cluster.sql("SELECT job_id FROM outbound_requests WHERE class = 'transient' AND state = 'pending'"):
            cluster.longshore.run("job", "retry", r["job_id"])
        return state("later", "email") == state("cut", "email") == "done"
    wait_until(later_is_done, 40 * SLOWER, lambda: f"{rows()}{cluster.describe()}", 0.3)
    assert rows()[("later", "email")]["tries"] >= 2 and rows()[("cut", "email")]["tries"] >= 2
    cluster.wait_idle(partners=("longshore", "smtp", "twilio"))
    assert sorted(e["to"] for e in log("taken")) == [f"{who}@example.com" for who in ("ann", "cut", "gone", "later")]
    assert [t["to"] for t in desk.books("texts")] == ["+351912345672"], "of what nobody knows no other channel is told"
    mail = email.message_from_string(log("taken")[0]["message"], policy=email.policy.default)
    assert mail["Subject"] == "Welcome, Ann  Bcc: all@example.com <b>&" and str(mail["From"]) == "The Désk <desk@example.com>" and not mail["Bcc"]
    assert mail.get_body(("plain",)).get_content() == "Room 12: {the} door code is 0417." and "<b>0417</b>" in mail.get_body(("html",)).get_content()
    # Asked for plainly: a line break makes no header, and an address no command.
    for args in ({"to": "eve@example.com", "subject": "a\r\nBcc: all@example.com", "text": "t"}, {"to": "eve@example.com>\r\nDATA", "subject": "a", "text": "t"}):
        cluster.push({"task": "send", "integration_id": smtp, "args": args}, "queue:{smtp}")
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters WHERE partner = 'smtp' AND rule = 'mail'") == 2, 20 * SLOWER,
               lambda: f"{cluster.sql('SELECT rule, error FROM dead_letters')}{cluster.describe()}")
    # A mail as a cassette: who is told stands where it must, and not in the dialogue, from which the outcome follows again.
    mine = tmp_path / "smtp"
    shutil.copytree(ROOT / "drivers" / "smtp", mine, ignore=shutil.ignore_patterns("cassettes"))
    cluster.longshore("driver", "record", "smtp", "--action", "send", "--params", json.dumps({"to": "echo@example.com", "subject": "Hello", "text": "."}), "--out", mine / "cassettes",
                      "--integration", add("--set", "tls=none", "--environment", "sandbox"))
    tape = json.loads((mine / "cassettes" / "send.action.json").read_text())
    (mailed,) = tape["exchanges"]
    assert mailed["request"]["mail"] == {"from": "desk@example.com", "to": "echo@example.com"} and tape["settings"]["tls"] == "none"
    assert mailed["response"] == {"dialogue": [
        "S: 220 mail.example.com ESMTP", "C: EHLO ***", "S: 250-mail.example.com", "S: 250-8BITMIME", "S: 250 SIZE 1000000", "C: MAIL FROM:<***> SIZE=***", "S: 250 2.1.0 Ok",
        "C: RCPT TO:<***>", "S: 550 5.1.1 <***>: no such user", "C: QUIT"]}
    assert "1 call, failed" in cluster.longshore("driver", "check", mine).out
    del mailed["response"]["dialogue"][7]
    (mine / "cassettes" / "send.action.json").write_text(json.dumps(tape))
    wrong = cluster.longshore.run("driver", "check", mine)
    assert wrong.code == 1 and "exchanges[0].response.dialogue[7]: " in wrong.out + wrong.err, wrong
    # STARTTLS is demanded where nobody said that it need not be.
    desk.channels(add())
    desk.notify([to("bob", 5)])
    wait_until(lambda: "tls" in (rows().get(("bob", "email"), {}).get("error") or ""), 20 * SLOWER, lambda: f"{rows()}{cluster.describe()}")
    assert not [e for e in log("begun") if e["to"].startswith(("bob", "eve"))]
    told = "".join(p.log_text() for p in cluster.processes if hasattr(p, "log_text"))
    assert "api_call" in told and not [who for who in ("ann@", "echo@", "later@", "cut@", "gone@", "eve@") if who in told], "addresses stand in no log"


# Of nobody: an RSA key made for this test.
KEY = ("MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBANrNxUfE++Zs5DoIXg1yjOuAMknjIQS9rJJReRwakPTxIsHCyVdzHXcPUVCToVQWavJ7tPaWz4GB3HsyLo"
       "/rP/55z8S4d1p351YIZbac2iuz431xDyljf5l5+UMaYPaAoH9XpKi8QOV2KNiBOv1IYYQSrGaMmzekjEM1Nv4H/k4ZAgMBAAECgYBPu7BqaOQKoh/A7g+oAthLcVniBvyf"
       "R6c9YqcpkJzGRaEOzrakQXS5UEGnhUTC6bBrUJ0vRuGzJel8k1rYYzfcDXWrLiiiShneXY6Jih/VHdMTrSTWCjgfDBpvk2C3PIgkjBRnMuLP2iRyXNDDSXT0A7IVYxI9C1"
       "ORYD46XoZe6QJBAO0rRibfw9OcE8lVFwdgC+7bOd4ugkwCE3l+L5u0NUCAwW0gfuhTvaRiOpTBhM1E4XRp2dqGiCG0RXUjOUOIl+MCQQDsLTPQTW1SSgKkzbOJSP6hCNkg"
       "xmuhfWGYs4yasS+liS/9PlhbhrwZ2YU79RBZwCd3lVsYbvEC2Q49HLk0MMrTAkEAgYtSjSdKWop1EFKm+oNO4U/jguWajBPSOVlgfcboE2yAuq+2QgaDnod9AgXWGR0XnL"
       "O4qDE1qFtEWSA9RhMVCwJABTJRa4nol+DtAfdMtf6XK6/oJyJ2h80ccqGwvE6dv8Su+6F9jDYAuYjht5oCzBbAR49Pu8/lGazw9UNGh/Fy5QJBAJW+AuV9EExCf0aehbBH"
       "PQ6DZNH57O/uw1jBlRI1kYHpXByeXwf1g2OE4uRB84/WU9KQUUDPzmW4PfEA9PfNigI=")


def pem(key):
    return "-----BEGIN PRIVATE KEY-----\n" + "\n".join(textwrap.wrap(key, 64)) + "\n-----END PRIVATE KEY-----\n"


# ECDSA on P-256, enough of it to sign as SendGrid does.
EC_P, EC_N = 2**256 - 2**224 + 2**192 + 2**96 - 1, 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
EC_G = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296, 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)
EC_KEY = 0x1f2e3d4c5b6a79887766554433221100ffeeddccbbaa99887766554433221101


def ec_times(k, point=EC_G):
    out = None
    while k:
        if k & 1:
            out = ec_add(out, point)
        point, k = ec_add(point, point), k >> 1
    return out


def ec_add(a, b):
    if a is None:
        return b
    slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, EC_P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, EC_P)
    x = (slope * slope - a[0] - b[0]) % EC_P
    return x, (slope * (a[0] - x) - a[1]) % EC_P


def ec_sign(key, message):
    def integer(v):
        raw = v.to_bytes(33, "big").lstrip(b"\0")
        raw = b"\0" + raw if raw[0] & 0x80 else raw
        return bytes((2, len(raw))) + raw
    z = int.from_bytes(hashlib.sha256(message).digest(), "big")
    k = z % (EC_N - 1) + 1
    r = ec_times(k)[0] % EC_N
    s = pow(k, -1, EC_N) * (z + r * key) % EC_N
    both = integer(r) + integer(s)
    return bytes((0x30, len(both))) + both


def ec_public():
    x, y = ec_times(EC_KEY)
    return base64.b64encode(bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + x.to_bytes(32, "big") + y.to_bytes(32, "big")).decode()


def test_what_partners_tell_since(cluster, tmp_path):
    folder = tmp_path / "drivers" / "fcm"
    shutil.copytree(ROOT / "drivers" / "fcm", folder)
    mine = folder.parent / "microsoft365"
    shutil.copytree(ROOT / "drivers" / "microsoft365", mine)
    cluster.add_drivers(folder.parent)
    desk = Desk(cluster, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["auth"]["token_url"] = desk.sandbox.url + "/fcm/token"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    fcm = desk.add("fcm", "/fcm/v1", {"client_email": "svc-1@p.iam.example.com", "private_key": pem(KEY)}, "project=p")
    desk.template("ping", {"email": {"subject": "s", "text": "t"}, "sms": {"text": "t"}, "push": {"title": "{a}", "body": "b"}})
    # A mailbox that takes no password, but a token: here of the sandbox, which the server asks about it.
    manifest = json.loads((mine / "manifest.json").read_text())
    manifest["auth"] = {"kind": "oauth2_client_credentials", "token_url": desk.sandbox.url + "/oauth2/token", "params": {"scope": "open-api"}}
    (mine / "manifest.json").write_text(json.dumps(manifest))
    mail = cluster.add(MailServer(cluster.folder, secured=True, tokens=desk.sandbox.url + "/v1/listings?limit=1")).start()
    mailbox = int(cluster.longshore("integration", "add", "--company", desk.company, "--partner", "microsoft365", "--base-url", f"smtp://localhost:{mail.port}", "--set", "from=desk@example.com",
                                    "--credentials", "-", input='{"client_id": "acct-1", "client_secret": "secret-1"}').out.split()[-1])
    desk.channels(desk.twilio, fcm)
    scheduler = cluster.scheduler()
    public = f"http://127.0.0.1:{scheduler.port}"
    worker = cluster.make_worker(public_url=public + "/", private_targets="127.0.0.1")
    worker.env["SSL_CERT_FILE"] = str(mail.cert)
    worker.start().wait_for_log("event=started", 20 * SLOWER)
    token = cluster.longshore("token", "add", "shop").out.strip()

    def post(args, **more):
        return requests.post(f"http://127.0.0.1:{scheduler.port}/api/v1/requests", headers={"Authorization": f"Bearer {token}"}, timeout=20,
                             json={"partner": "longshore", "action": "notify", "args": {"company_id": int(desk.company), "template": "ping", **args}, **more})
    to = {"phone": "+15005550008", "token": "device-1"}
    first = post({"to": to, "values": {"a": 1}}, idempotency_key="k")
    assert first.status_code == 200 and first.json()["state"] == "done" and len(first.json()["kept"]["notifications"]) == 1, first.text
    assert post({"to": to, "values": {"a": 1}}, idempotency_key="k").json()["id"] == first.json()["id"]
    again = post({"values": {"a": 1}, "to": dict(reversed(to.items()))}, idempotency_key="k")  # in another order it is the same
    assert again.status_code == 200 and again.json()["id"] == first.json()["id"], again.text
    assert post({"to": to, "values": {"a": 2}}, idempotency_key="k").status_code == 409
    assert post({"to": {"phone": "+351912345679"}, "values": {"a": 1}}, idempotency_key="k").status_code == 409
    assert cluster.one("SELECT count(*) FROM notifications") == 1
    wrong = post({"to": to, "values": {}})
    assert wrong.status_code == 422 and "push.title, line 1, column 1: {a} has no value" in wrong.json()["detail"], wrong.text
    # Twilio tells by itself, at the address that came with the message.  It did not arrive: the next channel has its turn, once.
    sms, push = desk.wait([("sms", "done", "sent"), ("push", "done", "sent")])
    (text,) = desk.books("texts")
    assert text["callback"] == f"{public}/webhooks/twilio/{desk.twilio}?longshore={sms['request_id']}" and sms["external_id"] == text["id"]
    assert (sms["delivery"], sms["delivery_reason"], push["delivery"]) == ("failed", "30003", None)

    def told(status, query, sid=text["id"], signed=None, **more):
        form = {"MessageSid": sid, "MessageStatus": status, **more}
        path = f"/webhooks/twilio/{desk.twilio}?longshore="
        mac = hmac.new(b"token-1", (public + path + str(signed or query) + "".join(k + form[k] for k in sorted(form))).encode(), hashlib.sha1)
        return requests.post(f"{public}{path}{query}", data=form, timeout=20, headers={"X-Twilio-Signature": base64.b64encode(mac.digest()).decode()}).status_code
    assert told("delivered", sms["request_id"], signed=7) == 401, "what is in the address is signed"
    assert told("delivered", sms["request_id"]) == 202
    cluster.wait_idle(partners=("twilio", "fcm"))
    assert [p["token"] for p in desk.books("pushes")] == ["device-1"] and desk.outcomes()[0]["delivery"] == "failed"
    assert cluster.one("SELECT external_id FROM webhook_events WHERE event = 'delivered'") == str(sms["request_id"])
    # SendGrid tells by our own number, and may tell before our row knows; it signs with a key of its own.
    desk.channels(desk.sendgrid, desk.twilio)
    before = [("sms", "done", "sent"), ("push", "done", "sent")]

    def event(reference, kind, key=EC_KEY, **more):
        body = json.dumps([{"event": kind, "sg_event_id": f"{kind}-{reference}", "timestamp": int(time.time()), "longshore": reference, **more}]).encode()
        stamp = str(int(time.time()))
        return requests.post(f"http://127.0.0.1:{scheduler.port}/webhooks/sendgrid/{desk.sendgrid}", data=body, timeout=20, headers={
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(ec_sign(key, stamp.encode() + body)).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp, "Content-Type": "application/json"}).status_code
    post({"to": {"email": "ann@example.com"}})
    desk.wait(before + [("email", "done", "sent")])
    assert event(desk.books("mails")[0]["reference"], "delivered", key=EC_KEY + 1) == 401
    assert event(desk.books("mails")[0]["reference"], "delivered") == 202
    wait_until(lambda: [o["delivery"] for o in desk.outcomes()] == ["failed", None, "delivered"], 20 * SLOWER,
               lambda: f"{desk.outcomes()}{cluster.sql('SELECT * FROM webhook_events')}")
    # Of what nobody knows a report says that it was sent: it is done, and one that came back is followed by the next channel.
    desk.sandbox.fault(match="POST /sendgrid", abort=True, late=True, times=2)
    before += [("email", "done", "sent")]
    alerts = "SELECT count(*) FROM alerts WHERE kind = 'outbound_unknown' AND resolved_at IS NULL"
    for who, kind, after in (("bob", "processed", [("email", "done", "sent")]), ("carl", "bounce", [("email", "done", "sent"), ("sms", "done", "sent")])):
        post({"to": {"email": f"{who}@example.com", "phone": "+351912345670"}})
        desk.wait(before + [("email", "unknown", "unknown")])
        wait_until(lambda: cluster.one(alerts) == 1, 20 * SLOWER, cluster.describe)
        assert event(desk.books("mails")[-1]["reference"], kind) == 202
        before += after
        desk.wait(before)
        wait_until(lambda: cluster.one(alerts) == 0, 20 * SLOWER, cluster.describe)
    assert [m["to"] for m in desk.books("mails")] == ["ann@example.com", "bob@example.com", "carl@example.com"]
    assert [o["delivery"] for o in desk.outcomes()][3:5] == ["sent", "failed"]
    # So does Twilio's, by the number in the address: it never told us its own.  Also of a message that is no notification's.
    desk.channels(desk.twilio, desk.slack)
    desk.sandbox.fault(match="POST /twilio", abort=True, late=True, times=2)
    post({"to": {"phone": "+351912345671"}})
    cluster.push({"task": "send", "integration_id": desk.twilio, "args": {"to": "+351912345672", "text": "t"}}, "queue:{twilio}")
    (last, *_), texts = desk.wait(before + [("sms", "done", "sent")])[::-1], lambda: desk.books("texts")[2:]
    alone = lambda: cluster.sql("SELECT o.state, o.external_id, o.kept, s.how FROM outbound_requests o JOIN outbound_steps s ON s.request_id = o.id"
                                " WHERE o.integration_id = %s AND o.notification_id IS NULL", desk.twilio)
    wait_until(lambda: [r["state"] for r in alone()] == ["done"], 20 * SLOWER, lambda: f"{alone()}{cluster.describe()}")
    sids = {t["to"][-1]: t["id"] for t in texts()}
    assert len(texts()) == 2 and last["external_id"] == sids["1"] and alone()[0]["external_id"] == sids["2"]
    assert alone()[0]["kept"] == {"sid": sids["2"], "status": None} and alone()[0]["how"].startswith("told: ")
    wait_until(lambda: desk.outcomes()[-1]["delivery"] == "delivered" and cluster.one(alerts) == 0, 20 * SLOWER, cluster.describe)
    # A report that comes while the message is still being sent waits for nobody: who ends it without an answer finds it.
    desk.channels(desk.sendgrid, desk.slack)
    desk.sandbox.fault(match="POST /sendgrid", abort=True, delay_ms=1500, times=1)
    post({"to": {"email": "dora@example.com"}})
    sending = "SELECT request_id FROM outbound_steps s JOIN outbound_requests o ON o.id = s.request_id WHERE s.state = 'sent' AND o.partner = 'sendgrid'"
    wait_until(lambda: cluster.sql(sending), 20 * SLOWER, cluster.describe)
    assert event(str(cluster.one(sending)), "delivered") == 202
    desk.wait(before + [("sms", "done", "sent"), ("email", "done", "sent")])
    wait_until(lambda: desk.outcomes()[-1]["delivery"] == "delivered" and cluster.one(alerts) == 0, 20 * SLOWER, cluster.describe)
    desk.channels(mailbox)
    post({"to": {"email": "eve@example.com"}})
    desk.wait(before + [("sms", "done", "sent"), ("email", "done", "sent"), ("email", "done", "sent")])
    assert [(e["how"], e["user"], e["good"], e["tls"]) for e in mail.log("login")] == [("XOAUTH2", "desk@example.com", True, True)]
    assert [e["to"] for e in mail.log("taken")] == ["eve@example.com"]
