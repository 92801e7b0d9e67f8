"""Signatures by the vendors' own libraries get in; their twins, changed by a hair, do not."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from harness.npm import FOLDER, install
from harness.webhooks import event, hooked, post, queued, receiver

SIGN = Path(__file__).parent / "harness" / "sign.js"
# The presets; sendgrid and twilio as their manifests would have them.
SCHEMES = {
    "standard_webhooks": ("standard_webhooks", {"event_id": "header:webhook-id"}),
    "asymmetric": ("standard_webhooks", {"event_id": "header:webhook-id"}),
    "svix": ({"scheme": "standard_webhooks", "prefix": "svix-"}, {"event_id": "header:svix-id"}),
    "stripe": ("stripe", {}),
    "twilio": ("twilio", {"event": "MessageStatus", "event_id": {"hash": ["MessageSid", "MessageStatus"]}}),
    "twilio_json": ("twilio", {}),
    "sendgrid": ("sendgrid", {"records": "@", "event": "event", "event_id": "sg_event_id", "happened_at": "timestamp"}),
}
PUBLIC = "https://hooks.example.com/longshore"


def tampered(case):
    """Of a good delivery: names of what is wrong, and what is sent instead."""
    yield "a byte more", {**case, "body": case["body"] + " "}
    yield "another byte", {**case, "body": case["body"].replace("1", "2", 1)}
    for name, value in case["headers"].items():
        yield f"no {name}", {**case, "headers": {k: v for k, v in case["headers"].items() if k != name}}
        if value.isdigit():
            yield f"{name} a second later", {**case, "headers": {**case["headers"], name: str(int(value) + 1)}}
            continue
        at = len(value) - 10
        other = "B" if value[at] in "aA" else "A"  # hex is the same in either case
        if not name.lower().endswith("-id"):
            yield f"{name} changed", {**case, "headers": {**case["headers"], name: value[:at] + other + value[at + 1:]}}
            yield f"{name} cut", {**case, "headers": {**case["headers"], name: value[:-4]}}
        else:
            yield f"{name} changed", {**case, "headers": {**case["headers"], name: value + "x"}}
    if case.get("query"):
        yield "another address", {**case, "query": case["query"] + "&more=1"}
        yield "the body's sum left away", {**case, "query": ""}


@pytest.mark.timeout(300)  # the first run installs the packages
def test_what_the_vendors_sign(cluster, tmp_path):
    install()
    for name, (verify, more) in SCHEMES.items():
        hooked(tmp_path / "drivers", name, verify, **more)
    cluster.add_drivers(tmp_path / "drivers")
    ids = {name: 1 + n for n, name in enumerate(SCHEMES)}
    body = json.dumps(event("evt_1", text="ünïcode \r\n 1")).replace(" ", "  ")
    mails = json.dumps([{"sg_event_id": f"m{n}", "event": "delivered", "timestamp": 1790000000 + n} for n in range(3)]).replace(", ", ",\r\n")
    form = [["To", "+18005551212"], ["From", "+14158675309"], ["Body", "1 & 1 = 2 ünïcode"], ["MessageSid", "SM1"], ["MessageStatus", "sent"],
            ["Media", "b"], ["Media", "a"], ["Empty", ""]]

    def sign(at=None):
        words = {"url": {name: f"{PUBLIC}/webhooks/{name}/{id}" for name, id in ids.items()}, "body": body, "form": form, "events": mails,
                 "now": at}
        done = subprocess.run(["node", str(SIGN), str(FOLDER)], input=json.dumps(words), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    good, old = sign(), sign(time.time() - 3600)
    for name in SCHEMES:
        secret = [good[name]["secret"], old[name]["secret"]]
        assert receiver(cluster, name, {"webhook_secret": secret}) == ids[name]
    scheduler = cluster.scheduler(public_url=PUBLIC + "/")

    def status(name, case):
        answer = post(scheduler, f"/webhooks/{name}/{ids[name]}{case.get('query', '')}", case["body"].encode(), case["headers"], case["type"])
        return answer.status_code

    for name in SCHEMES:
        for what, case in tampered(good[name]):
            assert status(name, case) == 401, f"{name}: {what}"
        assert queued(cluster, name) == []
        assert status(name, good[name]) == 202, name
        if not name.startswith("twilio"):  # which signs no time
            assert status(name, old[name]) == 401, f"{name}: an hour old"
    sms, mail = queued(cluster, "twilio")[0]["args"], queued(cluster, "sendgrid")
    assert sms["event"] == "sent" and sms["body"]["Body"] == "1 & 1 = 2 ünïcode" and sms["body"]["Media"] == ["b", "a"]
    assert [job["args"]["event_id"] for job in mail] == ["m0", "m1", "m2"]
    assert [job["args"]["happened_us"] for job in mail] == [1790000000000000 + n * 1000000 for n in range(3)]
    assert queued(cluster, "svix")[0]["args"]["event_id"] == "msg_2"
