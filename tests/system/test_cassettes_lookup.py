"""Cassettes of lookups: a question and its answer, recorded, replayed from the folder alone, and held against the partner."""

import json
import shutil

import pytest

from harness.process import ROOT

PARTNERS = (("weather", "/open-meteo/v1", ()), ("frankfurter", "/frankfurter/v1", ()),
            ("nominatim", "/nominatim", ("--set", "app=Longshore tests", "--set", "contact=ops@example.com")))


@pytest.fixture
def mine(cluster, tmp_path):
    """The drivers of the three partners without their cassettes, and an integration of each with the sandbox."""
    sandbox = cluster.sandbox(anchor="2026-11-21T00:00:00Z")
    folder, ids = tmp_path / "mine", {}
    for partner, base, settings in PARTNERS:
        shutil.copytree(ROOT / "drivers" / partner, folder / partner, ignore=shutil.ignore_patterns("cassettes"))
        out = cluster.longshore("integration", "add", "--partner", partner, "--base-url", sandbox.url + base, *settings).out
        ids[partner] = out.split()[-1]
    cluster.add_drivers(folder)
    return cluster, sandbox, folder, ids


def problems(result):
    return {p["path"]: p["text"] for r in result.json()["replays"] for p in r["problems"]}


def test_a_lookup_is_recorded_and_replayed(mine):
    cluster, sandbox, folder, ids = mine
    for partner in ids:
        cluster.longshore("driver", "record", partner, "--integration", ids[partner])
        result = cluster.longshore("driver", "check", folder / partner, "--json")
        assert result.json()["ok"] and result.json()["warnings"] == [] and not problems(result), result
        shipped = {p.name for p in (ROOT / "drivers" / partner / "cassettes").iterdir()}
        assert {p.name for p in (folder / partner / "cassettes").iterdir()} == shipped
    weather = folder / "weather" / "cassettes" / "current.lookup.json"
    tape = json.loads(weather.read_text())
    assert tape["lookup"] == {"name": "current", "params": {"lat": 52.52, "lon": 13.405}} and len(tape["exchanges"]) == 1
    assert tape["exchanges"][0]["request"]["query"]["longitude"] == "13.4" and sandbox.url not in weather.read_text()
    rows = json.loads((folder / "weather" / "cassettes" / "current.lookup.rows.json").read_text())
    assert rows["state"] == "fresh" and isinstance(rows["data"]["temperature_c"], (int, float))
    assert "1 answer" in cluster.longshore("driver", "check", folder / "weather").out

    # The partner, asked the same: as it was. A field that it has no more, and one that became another's, are told.
    live = ("driver", "check", folder / "frankfurter", "--live", "--integration", ids["frankfurter"], "--json")
    steps = {s["what"]: s for s in cluster.longshore(*live).json()["live"]}
    assert {"auth", "schema of latest.lookup", "schema of on.lookup"} <= set(steps) and not any(s["problems"] for s in steps.values())
    assert not any("no cassette" in n for s in steps.values() for n in s["notes"])
    sandbox.fault(match="/frankfurter/v1/latest", status=200, body='{"base": "USD", "date": "2026-11-20", "rates": [1]}', times=1)
    found = cluster.longshore.run(*live)
    assert found.code == 1 and "list" in {p["path"]: p["text"] for s in found.json()["live"] for p in s["problems"]}["rates"], found

    # Another question, and one that nobody has an answer to.
    cluster.longshore("driver", "record", "frankfurter", "--integration", ids["frankfurter"], "--lookup", "latest", "--params",
                      '{"base": "EEK"}', "--out", folder / "frankfurter" / "cassettes")
    rows = json.loads((folder / "frankfurter" / "cassettes" / "latest.lookup.rows.json").read_text())
    assert rows == {"state": "missing", "data": None}
    assert cluster.longshore("driver", "check", folder / "frankfurter", "--json").json()["ok"]

    # What a replay finds: a field that is read from elsewhere, a parameter that is another, a lookup that is gone.
    manifest = folder / "weather" / "manifest.json"
    good = manifest.read_text()
    for was, now, path, text in (('"path": "cloud_cover"', '"path": "cloud_amount"', "data.cloud_percent", "became null"),
                                 ('"timezone": "GMT"', '"timezone": "UTC"', None, "query.timezone"),
                                 ('"current": ', '"now": ', "current.lookup", 'no lookup "current"')):
        manifest.write_text(good.replace(was, now))
        found = problems(cluster.longshore.run("driver", "check", folder / "weather", "--json"))
        assert any((path is None or path == where) and text in said for where, said in found.items()), (found, now)


@pytest.mark.parametrize("words, text", [
    (("--lookup", "curent"), "no curent"),
    (("--lookup", "latest", "--collection", "x"), "there is no x"),
    (("--params", "{}"), "--lookup NAME"),
    (("--lookup", "latest", "--params", "[1]"), "a JSON object"),
])
def test_refused(cluster, words, text):
    result = cluster.longshore.run("driver", "record", "frankfurter", "--integration", "1", *words)
    assert result.code == 2 and text in result.err, result
