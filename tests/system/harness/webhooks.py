"""Webhooks as partners send them: manifests of each scheme, signatures made here, and requests that no library would send."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import time
import uuid

import requests

EVENTS = {"thing.changed": {"collection": "things", "id": "thing.id"}, "thing.gone": {"collection": "things", "id": "thing.id"},
          "key.revoked": {"do": "auth_revoked"}}
SECRET = "0123456789abcdef-of-a-partner"


def whsec(raw=b"a secret of thirty-two bytes.....xx"):
    return "whsec_" + base64.b64encode(raw).decode()


def hooked(folder, name, verify, change=lambda w: None, **more):
    """A driver of that name whose webhooks are verified so."""
    webhooks = {"verify": verify, "event": "event", "event_id": "id", "happened_at": "at", "events": dict(EVENTS), **more}
    if verify in ("url_secret", "none") or isinstance(verify, dict) and verify.get("scheme") in ("url_secret", "none"):
        webhooks["events"].pop("key.revoked")
    change(webhooks)
    manifest = {
        "partner": name, "manifest": 1, "api": {"base": {"production": "http://127.0.0.1:1"}},
        "settings": {"account": {}},
        "collections": {"things": {"get": "/things", "records": "@", "id": "id", "detail": {"get": "/things/{id}"},
                                   "table": "resources", "map": {"name": "name"}}},
        "webhooks": webhooks}
    (folder / name).mkdir(parents=True)
    (folder / name / "manifest.json").write_text(json.dumps(manifest))


def receiver(cluster, partner, credentials=None, company=True, **settings):
    """An integration with those credentials; its id."""
    words = ["integration", "add", "--partner", partner]
    if company:
        cluster.company_id = cluster.company_id or cluster.company()
        words += ["--company", cluster.company_id]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    if credentials is None:
        return int(cluster.longshore(*words).out.split()[-1])
    return int(cluster.longshore(*words, "--credentials", "-", input=json.dumps(credentials)).out.split()[-1])


def event(n=None, name="thing.changed", **more):
    return {"event": name, "id": str(n or uuid.uuid4()), "thing": {"id": "t-1"}, **more}


def mac(algorithm, key, data):
    return hmac.new(key if isinstance(key, bytes) else key.encode(), data, algorithm)


def standard(secret, body, id=None, at=None, prefix="svix-"):
    """The headers of Standard Webhooks."""
    id, at = id or f"msg_{uuid.uuid4().hex}", str(int(at or time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    made = base64.b64encode(mac("sha256", key, f"{id}.{at}.".encode() + body).digest()).decode()
    return {f"{prefix}id": id, f"{prefix}timestamp": at, f"{prefix}signature": f"v1,{made}"}


def url_secret():
    """What stands in the address, and what is stored of it."""
    text = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return text, "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def post(scheduler, path, body, headers=None, content_type="application/json", session=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = session or requests.Session()
    made.trust_env = False
    try:
        return made.post(f"http://127.0.0.1:{scheduler.port}{path}", data=data, timeout=60,
                         headers={"Content-Type": content_type, **(headers or {})})
    finally:
        if not session:
            made.close()


def raw(scheduler, data, wait=20):
    """Bytes as they are, on a connection of their own; what came back until it was closed, or for so long."""
    with socket.create_connection(("127.0.0.1", scheduler.port), timeout=wait) as s:
        s.sendall(data)
        got = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return got
                got += more
        except (socket.timeout, ConnectionResetError):
            return got


def queued(cluster, partner, lanes=("high", "normal", "low")):
    """The jobs that stand in ready, oldest first, as dicts with their lane."""
    jobs = []
    for lane in lanes:
        for member in cluster.redis.client.zrange(f"ready:{{{partner}}}:{lane}", 0, -1):
            head, payload = member.split(b"\n", 1)
            jobs.append({"lane": lane, "header": head.decode().split(" ")[2], **json.loads(payload)})
    return jobs
