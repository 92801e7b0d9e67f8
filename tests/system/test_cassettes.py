"""A driver's own tests: recorded from a live partner with nothing secret in them, replayed from the folder alone, and the contract."""

import json
import shutil

import pytest

from harness.process import BIN, ROOT


@pytest.fixture
def recorded(cluster, tmp_path):
    """Guesty's driver in a folder of its own, recorded from the sandbox."""
    sandbox = cluster.sandbox(listings=40, clean=True)
    mine = tmp_path / "mine"
    shutil.copytree(ROOT / "drivers" / "guesty", mine / "guesty", ignore=shutil.ignore_patterns("cassettes"))
    cluster.add_drivers(mine)
    integration = cluster.integration(sandbox)
    cluster.longshore("driver", "record", "guesty", "--integration", integration, "--size", 5)
    return cluster, sandbox, mine / "guesty", integration


def check(cluster, folder, *words):
    """Without Redis or Postgres: their addresses lead nowhere."""
    nowhere = {"LONGSHORE_REDIS_URL": "redis://127.0.0.1:1", "LONGSHORE_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    return cluster.longshore.run("driver", "check", folder, "--json", *words, env=nowhere)


def problems(result):
    return {(r["cassette"].rsplit("/", 1)[1], p["path"]): p["text"] for r in result.json()["replays"] for p in r["problems"]}


def test_what_is_recorded_and_replayed(recorded):
    cluster, sandbox, folder, integration = recorded
    cassettes = folder / "cassettes"
    names = sorted(p.name for p in cassettes.iterdir())
    assert names == ["auth.json", "listings.item.json", "listings.item.rows.json", "listings.json", "listings.rows.json",
                     "reservations.changes.json", "reservations.changes.rows.json", "reservations.item.json",
                     "reservations.item.rows.json", "reservations.json", "reservations.rows.json"]
    text = "".join(p.read_text() for p in cassettes.iterdir())
    tokens = [k for k in cluster.redis.client.keys("token:*")]
    assert tokens and "secret-1" not in text and sandbox.url not in text
    auth = json.loads((cassettes / "auth.json").read_text())["exchanges"][0]
    assert auth["response"]["json"]["access_token"] == "***" and "client_secret=***" in auth["request"]["text"]
    listings = json.loads((cassettes / "listings.json").read_text())
    assert [x["request"]["query"]["skip"] for x in listings["exchanges"]] == ["0", "5"]
    assert listings["exchanges"][0]["request"]["url"] == "{base}/listings"
    rows = json.loads((cassettes / "listings.rows.json").read_text())["rows"]
    assert sum(row["table"] == "resources" for row in rows) == 10 and any(row["table"] == "media" for row in rows)

    # The very rows that an import stores, but for what is personal.
    cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    cluster.wait_idle()
    for row in rows:
        if row["table"] == "resources":
            (stored,) = cluster.sql("SELECT * FROM resources WHERE external_id = %s", row["external_id"])
            assert (stored["name"], stored["price_minor"], stored["media_hash"], stored["extra"]) == (
                row["name"], row["price_minor"], row["media_hash"], row["extra"])
    guests = json.loads((cassettes / "reservations.json").read_text())["exchanges"][0]["response"]["json"]["results"]
    for guest in (r["guest"] for r in guests if r.get("guest")):
        assert set(guest["fullName"]) <= set("Xx .'-"), guest

    result = check(cluster, folder)
    assert result.code == 0 and result.json()["ok"] and not problems(result), result
    assert result.json()["warnings"] == [] and len(result.json()["replays"]) == 6


def test_what_a_replay_finds(recorded):
    cluster, sandbox, folder, _ = recorded
    manifest, cassettes = folder / "manifest.json", folder / "cassettes"
    good = manifest.read_text()

    # A mapping that went wrong: the row, the column, both values.
    manifest.write_text(good.replace('"city": "address.city"', '"city": "address.state"'))
    result = check(cluster, folder)
    found = problems(result)
    first = json.loads((cassettes / "listings.rows.json").read_text())["rows"][0]["external_id"]
    assert result.code == 1 and found["listings.json", f"rows[{first}].city"].endswith('"') and len(found) >= 6, found
    text = cluster.longshore.run("driver", "check", folder)
    assert text.code == 1 and "FAILED" in text.out and f"rows[{first}].city" in text.out

    # Other calls than were recorded: told, and what was recorded is left over.
    manifest.write_text(good.replace('"sort": "_id"', '"sort": "title"', 1))
    found = problems(check(cluster, folder))
    assert any("query.sort" in text and "not recorded" in text for text in found.values()), found
    assert any("was not asked for" in text for text in found.values()), found
    manifest.write_text(good)

    # An exchange that is there for nothing.
    one = json.loads((cassettes / "listings.json").read_text())
    one["exchanges"].append(json.loads(json.dumps(one["exchanges"][0]).replace('"skip": "0"', '"skip": "990"')))
    (cassettes / "listings.json").write_text(json.dumps(one))
    found = problems(check(cluster, folder))
    assert list(found.values()) == ["is recorded and was not asked for"], found

    # Old: said, and no failure.
    one["exchanges"].pop()
    one["recorded_at"] = "2026-01-02T00:00:00Z"
    (cassettes / "listings.json").write_text(json.dumps(one))
    result = check(cluster, folder)
    warnings = [w for r in result.json()["replays"] for w in r["warnings"]]
    assert result.code == 0 and len(warnings) == 1 and "days ago" in warnings[0]

    # No rows to compare with; --write-rows writes what it comes to.
    (cassettes / "listings.rows.json").unlink()
    assert check(cluster, folder).code == 1
    assert check(cluster, folder, "--write-rows").code == 0 and check(cluster, folder).code == 0

    # What is no cassette is named, and the others run.
    (cassettes / "broken.json").write_text('{"cassette": 1,\n"recorded_at": }')
    result = check(cluster, folder)
    assert result.code == 1 and "line 2" in str(problems(result)) and len(result.json()["replays"]) == 7


def test_the_contract(recorded):
    cluster, sandbox, folder, integration = recorded
    live = ("driver", "check", folder, "--live", "--integration", integration)
    result = cluster.longshore(*live, "--json")
    steps = {s["what"]: s for s in result.json()["live"]}
    assert set(steps) == {"auth", "schema of listings", "schema of reservations", "limit headers"}
    assert all(not s["problems"] for s in steps.values()), steps

    # A field that is gone, one of another type, and a limit that shrank.
    for item in sandbox.control("GET", "/items?account=acct-1&noun=listing").text.splitlines()[:40]:
        listing = json.loads(item)["id"]
        sandbox.control("POST", "/update", {"account": "acct-1", "id": listing, "fields": {"accommodates": None, "bedrooms": "two"}})
    sandbox.control("POST", "/settings", {"limits": "10/1s,60/60s,5000/1h"})
    result = cluster.longshore.run(*live, "--json")
    found = {p["path"]: p["text"] for s in result.json()["live"] for p in s["problems"]}
    assert result.code == 1 and "in none of" in found["accommodates"] and "text" in found["bedrooms"], found
    assert any("10" in text and "15" in text for text in found.values()), found
    assert "FAILED live: schema of listings" in cluster.longshore.run(*live).out

    sandbox.control("POST", "/reset", {"what": ["tokens"]})
    cluster.redis.client.delete(*cluster.redis.client.keys("token:*"))
    sandbox.fault(match="/oauth2/token", status=401, body='{"error": "invalid_client"}', times=5)
    result = cluster.longshore.run(*live, "--json")
    auth = [s for s in result.json()["live"] if s["what"] == "auth"]
    assert result.code == 1 and auth[0]["problems"], result


def test_parents_columns_and_overrides(recorded, tmp_path):
    cluster, sandbox, folder, integration = recorded
    manifest = json.loads((folder / "manifest.json").read_text())
    photos, listings = manifest["collections"]["photos"], manifest["collections"]["listings"]
    del photos["embedded"]
    photos |= {"get": "/listings/{parent.id}/photos", "records": "data", "query": {"of": "{parent.name}", "in": "{parent.internal_name}"}}
    record = ("driver", "record", "guesty", "--integration", integration, "--size", 5, "--pages", 1)

    # What hangs on a parent is asked for by the parent's columns, which the cassette has: its row is nowhere else.
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(folder / "cassettes")
    cluster.longshore(*record, "--collection", "photos")
    names = sorted(p.name for p in (folder / "cassettes").iterdir())
    tapes = [json.loads((folder / "cassettes" / n).read_text()) for n in names if n.startswith("photos.of.") and ".rows." not in n]
    assert len(tapes) == 2 and len(names) == 4, names
    for tape in tapes:
        row = tape["import"]["parent_row"]
        assert set(row) == {"name", "internal_name"} and row["name"] and row["internal_name"]
        query = tape["exchanges"][0]["request"]["query"]
        assert (query["of"], query["in"]) == (row["name"], row["internal_name"])
    assert cluster.longshore("driver", "check", folder, "--json").json()["ok"]
    found = check(cluster, folder)
    tape["import"]["parent_row"]["name"] = "Another"
    (folder / "cassettes" / "photos.of.x.json").write_text(json.dumps(tape))
    assert found.code == 0 and any("query.of" in text for text in problems(check(cluster, folder)).values())

    # Where one is null an import sets the parent aside: nothing is asked for it.
    listings["map"]["internal_name"] = "nobodyHasThis"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    nothing = cluster.longshore(*record, "--collection", "photos", "--out", tmp_path / "none", "--json")
    assert nothing.json() == [], nothing

    shutil.rmtree(folder / "cassettes")

    # What the integration has otherwise holds for these calls, and what does not fit is told.
    live = ("driver", "check", folder, "--live", "--integration", integration, "--json")
    assert cluster.longshore.run(*live).code == 0
    cluster.longshore("integration", "set", integration, "--map", '{"listings": {"name": {"path": "nobodyHasThis", "required": true}}}')
    result = cluster.longshore.run(*live)
    steps = {s["what"]: s["problems"] for s in result.json()["live"]}
    assert result.code == 1 and "set aside" in str(steps["schema of listings"]) and not steps["schema of reservations"], steps
    cluster.longshore(*record, "--collection", "listings", "--out", tmp_path / "own")
    assert not (tmp_path / "own" / "listings.item.json").exists(), "no item was taken by the overrides"
    rows = json.loads((tmp_path / "own" / "listings.rows.json").read_text())["rows"]
    assert sum(row["table"] == "resources" for row in rows) == 5, "a replay has the manifest alone"
    cluster.sql("UPDATE integrations SET overrides = '{\"limits\": 5}' WHERE id = %s", integration)
    for words in record, live:
        refused = cluster.longshore.run(*words)
        assert refused.code == 1 and "limits" in refused.err and "integration set" in refused.err, refused


@pytest.mark.parametrize("words, code, text", [
    (("driver", "check", "guesty", "--live"), 2, "--integration"),
    (("driver", "check", "guesty", "--integration", "1"), 2, "--live"),
    (("driver", "record", "guesty"), 2, "--integration"),
    (("driver", "record", "guesty", "--integration", "99"), 3, "99"),
    (("driver", "record", "guesty", "--integration", "1", "--collection", "photos"), 2, "embedded"),
    (("driver", "record", "guesty", "--integration", "1", "--collection", "lisings"), 2, "lisings"),
    (("driver", "record", "nobody", "--integration", "1"), 3, "nobody"),
])
def test_refused(cluster, words, code, text):
    result = cluster.longshore.run(*words)
    assert result.code == code and text in result.err, result
