"""The HTTP API: who may, what is refused and how, and that what was accepted is done, whatever was away."""

import json

import pytest
import requests

from harness import wait_until
from harness.process import SLOWER
from test_outbound import Partners

TICKET = {"title": "Boiler leaks"}


class Api:
    def __init__(self, cluster, scheduler):
        self.cluster, self.scheduler = cluster, scheduler
        self.session = requests.Session()
        self.session.trust_env = False
        self.url = f"http://127.0.0.1:{scheduler.port}/api/v1"
        self.tokens = {s: self.token(s.replace(",", "-"), s) for s in ("push", "read", "push,read,operate")}
        self.openapi = self.session.get(self.url + "/openapi.json", timeout=10).json()

    def token(self, name, scopes, *more):
        return self.cluster.longshore("token", "add", name, "--scopes", scopes, *more).out.strip()

    def call(self, method, path, body=None, token="push,read,operate", **options):
        headers = {"Authorization": f"Bearer {self.tokens.get(token, token)}"} if token else {}
        answer = self.session.request(method, self.url + path, headers={**headers, **options.pop("headers", {})}, timeout=30,
                                      **({"json": body} if body is not None else {}), **options)
        self.check(method, path, answer)
        return answer

    def check(self, method, path, answer):
        """As the OpenAPI file says: a status that is named there, and a body with what its schema requires."""
        plain = path.split("?")[0]
        template = next((t for t in self.openapi["paths"] if self.fits(t, plain)), None)
        if template is None:
            assert answer.status_code == 404
            return
        said = self.openapi["paths"][template][method.lower()]["responses"]
        assert str(answer.status_code) in said, f"{answer.status_code} is not in the file for {method} {template}: {answer.text}"
        schemas = self.openapi["components"]["schemas"]
        if answer.status_code >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert set(schemas["Problem"]["required"]) <= set(answer.json()) <= set(schemas["Problem"]["properties"])
            return
        schema = said[str(answer.status_code)]["content"]["application/json"]["schema"]
        self.fits_schema(answer.json(), schema)

    def fits_schema(self, value, schema):
        """Of a schema what can be said without a validator: its members, and theirs."""
        schema = self.openapi["components"]["schemas"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
        assert "enum" not in schema or value in schema["enum"], f"{value} is none of {schema['enum']}"
        if isinstance(value, dict) and "properties" in schema:
            assert set(schema.get("required", ())) <= set(value), f"{schema.get('required')} are not all in {value}"
            assert schema.get("additionalProperties", True) is not False or set(value) <= set(schema["properties"]), f"{value} has more than its schema"
            for name in set(value) & set(schema["properties"]):
                self.fits_schema(value[name], schema["properties"][name])
        if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
            for each in value.values():
                self.fits_schema(each, schema["additionalProperties"])
        if isinstance(value, list) and "items" in schema:
            for each in value:
                self.fits_schema(each, schema["items"])

    @staticmethod
    def fits(template, path):
        a, b = template.split("/"), path.split("/")
        return len(a) == len(b) and all(x == y or x.startswith("{") for x, y in zip(a, b))


@pytest.fixture
def api(cluster):
    partners = Partners(cluster)
    api = Api(cluster, cluster.scheduler())
    api.partners = partners
    api.ask = {"partner": "maintenance", "action": "request_service", "integration_id": partners.maintenance, "args": TICKET}
    return api


def test_a_request_by_http(cluster, api):
    cluster.worker().wait_for_log("event=started", 20 * SLOWER)
    overrides = "UPDATE integrations SET overrides = %s WHERE id = %s"
    cluster.sql(overrides, '{"no such key": 1}', api.partners.stripe)
    charge = {"customer": "c-1", "invoice": "i-1", "intent": "n-1", "amount": 1250, "currency": "EUR", "payment_method": "pm_card_visa"}
    early = api.call("POST", "/requests", {"partner": "stripe", "action": "charge", "integration_id": api.partners.stripe, "args": charge})
    answer = api.call("POST", "/requests?wait=20s", api.ask, token="push")
    assert answer.status_code == 200 and answer.json()["state"] == "done", answer.text
    id = answer.json()["id"]
    assert answer.headers["Location"] == f"/api/v1/requests/{id}"
    row = api.call("GET", f"/requests/{id}", token="read").json()
    assert [s["name"] for s in row["steps_begun"]] == ["create", "describe", "assign"] and row["attempts"] == 1 and row["kept"]
    args = {"title": "Boiler leaks", "contact": {"name": "Ann", "room": 12}}
    at_once = api.call("POST", "/requests", {**api.ask, "args": args, "idempotency_key": "k"}, token="push")
    assert at_once.status_code == 202
    turned = {"contact": {"room": 12, "name": "Ann"}, "title": "Boiler leaks"}  # the same, in another order
    again = api.call("POST", "/requests?wait=20s", {**api.ask, "args": turned}, token="push", headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == at_once.json()["id"] and again.json()["state"] == "done"
    assert api.call("POST", "/requests", {**api.ask, "args": {"title": "x"}, "idempotency_key": "k"}).status_code == 409
    assert len(api.partners.books("tickets")) == 2
    listed = api.call("GET", "/requests?state=done&limit=1").json()["requests"]
    assert [r["id"] for r in listed] == [again.json()["id"]]
    assert api.call("POST", f"/requests/{id}/undo", token="push").status_code == 403
    assert api.call("POST", f"/requests/{id}/undo").status_code == 202
    assert api.call("GET", f"/requests/{id}?wait=20s").json()["state"] == "undone"
    assert [t["status"] for t in api.partners.books("tickets")] == ["cancelled", "reported"]
    assert api.call("POST", f"/requests/{id}/resolve", {"as": "retry"}).status_code == 409

    # One whose job died before it came to its row has failed with it, and its dead letter goes on.
    early = api.call("GET", f"/requests/{early.json()['id']}?wait=20s").json()
    assert early["state"] == "failed" and "no such key" in early["error"] and early["dead_letter"], early
    cluster.sql(overrides, '{}', api.partners.stripe)

    def goes_on():  # once the worker has read the integration anew
        cluster.longshore.run("dead", "replay", "--partner", "stripe")
        return api.call("GET", f"/requests/{early['id']}?wait=2s").json()["state"] == "done"
    wait_until(goes_on, 30 * SLOWER, cluster.describe)
    assert len(api.partners.books("payments")) == 1


def test_what_is_refused(cluster, api):
    bad = [({"partner": "maintenance"}, 400, "action"), ({**api.ask, "actoin": 1}, 400, "actoin"), ({**api.ask, "lane": "fast"}, 400, "lane"),
           ({**api.ask, "integration_id": "7"}, 400, "integration_id"), ({**api.ask, "integration_id": 999}, 422, "integration_id"),
           ({**api.ask, "action": "request_servce"}, 422, "action"), ({**api.ask, "args": {}}, 422, "args.title"),
           ({**api.ask, "partner": "stripe"}, 422, "integration_id"),
           ({**api.ask, "args": {"title": "card 4111 1111 1111 1111"}}, 422, "args.title"),
           ({**api.ask, "args": {"title": "x", "contact": {"pan": 5500000000000004}}}, 422, "args.contact"),
           ({**api.ask, "args": {"title": "x", "4111111111111111": "x"}}, 422, "args"), ({**api.ask, "args": {"title": "x", "titel:": "x"}}, 422, "args.titel"),
           ({**api.ask, "idempotency_key": "4111-1111-1111-1111"}, 422, "idempotency_key"),
           ({"partner": "longshore", "action": "notify", "args": {"to": {"id": "4111 1111 1111 1111"}}}, 422, "args.to"),
           ({"partner": "longshore", "action": "notify", "args": {}, "idempotency_key": "4111111111111111"}, 422, "idempotency_key")]
    for body, status, field in bad:
        answer = api.call("POST", "/requests", body)
        assert (answer.status_code, answer.json().get("field")) == (status, field), f"{body}: {answer.text}"
    assert not cluster.sql("SELECT 1 FROM outbound_requests")
    assert not any("4111" in p.log_text() for p in cluster.processes if hasattr(p, "log_text"))
    assert api.call("POST", "/requests?wait=1h", api.ask).status_code == 400
    assert api.call("POST", "/requests", data=b"{nonsense").status_code == 400
    assert api.call("GET", "/requests/none").status_code == 404 and api.call("GET", "/nothing").status_code == 404
    # What would be left out in silence: a key that guards nothing, a filter that lists all, a decision that is another one.
    for key in ("k" * 300, "", b"\xff"):
        assert api.call("POST", "/requests", api.ask, headers={"Idempotency-Key": key}).status_code == 400, key
    twice = api.call("POST", "/requests", {**api.ask, "idempotency_key": "one"}, headers={"Idempotency-Key": "two"})
    assert (twice.status_code, twice.json()["field"]) == (400, "Idempotency-Key")
    text = json.dumps(api.ask)[:-1] + ', "partner": "stripe"}'
    assert api.call("POST", "/requests", data=text).json()["detail"] == '"partner" is given twice'
    for query, field in [("stat=done", "stat"), ("state=dnoe", "state"), ("state=done&state=late", "state"), ("limit=501", "limit"), ("limit", "limit"),
                         ("partner=%ff", None), ("partner=%00", None), ("wait=1s", "wait")]:
        answer = api.call("GET", f"/requests?{query}")
        assert (answer.status_code, answer.json().get("field")) == (400, field), f"{query}: {answer.text}"
    assert "1 to 500" in api.call("GET", "/requests?limit=0").json()["detail"]
    assert api.call("GET", "/requests/1?wiat=5s").json()["detail"] == "wiat: there is no such parameter; did you mean wait?"
    assert api.call("POST", "/requests/1/undo", {"as": "retry"}).json()["field"] == "as"
    assert api.call("POST", "/requests/1/resolve", {"as": "done", "kpet": {}}).json()["field"] == "kpet"
    assert api.call("GET", "/lookup/%ff/x").status_code == 400
    parts = '{"parts": {"a": {"partner": "x", "name": "y"}, "a": {"kind": "z"}}}'
    assert api.call("POST", "/lookup", data=parts).json()["field"] == "parts"
    assert not cluster.sql("SELECT 1 FROM outbound_requests")
    # What the server refuses before there is a call, too, whoever still sends.
    assert api.call("POST", "/requests", data=b"x" * (8 << 20)).status_code == 413
    assert api.call("GET", "/requests", data=b"{}").status_code == 400
    assert api.call("GET", "/requests", headers={"X": "x" * (20 << 10)}).status_code == 431
    fetch = api.session.request("FETCH", api.url + "/requests", timeout=10)
    put = api.session.put(api.url + "/requests", timeout=10)
    assert (fetch.status_code, put.status_code, put.headers["Allow"]) == (501, 405, "GET, HEAD, POST")
    for answer in (fetch, put):
        assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["status"] == answer.status_code


def test_tokens(cluster, api):
    assert api.call("GET", "/requests", token=None).status_code == 401
    assert api.call("GET", "/requests", token="ls_" + "0" * 52).status_code == 401
    assert api.call("GET", "/requests", token="push").status_code == 403 and api.call("POST", "/requests", api.ask, token="read").status_code == 403
    text = api.token("few", "read", "--per-minute", "3")
    assert not cluster.sql("SELECT 1 FROM api_tokens t WHERE t::text LIKE '%%' || %s || '%%'", text)
    answers = [api.session.get(api.url + "/requests", headers={"Authorization": f"Bearer {text}"}, timeout=10) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429] and int(answers[3].headers["Retry-After"]) <= 20
    gone = api.token("gone", "read")
    assert api.call("GET", "/requests", token=gone).status_code == 200
    cluster.longshore("token", "revoke", "gone")
    wait_until(lambda: api.session.get(api.url + "/requests", headers={"Authorization": f"Bearer {gone}"}, timeout=10).status_code == 401, 15, "revoked")
    listed = cluster.longshore("token", "list", "--json")
    assert text not in listed.out and [t["name"] for t in listed.json() if t["revoked_at"]] == ["gone"]
    assert cluster.longshore.run("token", "revoke", "gone").code == 3 and cluster.longshore.run("token", "add", "few").code == 1


def test_accepted_is_done_though_redis_is_away(cluster, api):
    """In Postgres first: neither a Redis that is away nor one that lost everything loses a request; nor does another partner's queue that
    takes none."""
    cluster.redis.client.set("ready:{stripe}:normal", "of another type")
    cluster.redis.stop()
    charge = {"customer": "c-1", "invoice": "i-1", "intent": "n-1", "amount": 1250, "currency": "EUR", "payment_method": "pm_card_visa"}
    first = api.call("POST", "/requests", {"partner": "stripe", "action": "charge", "integration_id": api.partners.stripe, "args": charge})
    assert first.status_code == 202, first.text
    ids = [api.call("POST", "/requests", {**api.ask, "args": {"title": f"t{n}"}}).json()["id"] for n in range(3)]
    cluster.redis.start()
    wait_until(lambda: cluster.one("SELECT count(*) FROM outbound_requests WHERE queued_at IS NOT NULL") == 3, 30 * SLOWER, "queued")
    cluster.redis.client.flushall()
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    wait_until(lambda: all(api.call("GET", f"/requests/{id}").json()["state"] == "done" for id in ids), 30 * SLOWER,
               lambda: f"all done: {api.partners.requests()}{cluster.describe()}")
    assert sorted(t["title"] for t in api.partners.books("tickets")) == ["t0", "t1", "t2"]
