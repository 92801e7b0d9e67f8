"""Pages stream: an import of 100,000 items takes hardly more memory than one of 1,000."""

import contextlib
import json
import re
from pathlib import Path

import pytest

from harness import wait_until
from harness.process import SANITIZED, SLOWER
from harness.shelf import Shelf, add_shelf, shelf_manifest

SIZE, ROOM_MIB = 500, 8
MANIFEST = {
    "partner": "stream", "manifest": 1, "api": {"base": {"production": "http://127.0.0.1:1"}},
    "pagination": {"kind": "offset", "offset_param": "start", "limit_param": "rows", "size": SIZE, "max_pages": 1},
    "collections": {"items": {"get": "/bench/items", "records": "results", "id": "id", "table": "resources", "updated_at": "updated_at",
                              "map": {"name": {"path": "name", "required": True}, "city": "city", "price_minor": {"path": "price", "as": "money"}}}},
}


def peak_kib(cluster, manifest, sandbox, items):
    """The most memory that a worker had which did nothing but this import."""
    MANIFEST["pagination"]["max_pages"] = items // SIZE
    manifest.write_text(json.dumps(MANIFEST))
    integration = cluster.integration(sandbox, partner="stream", base="")
    worker = cluster.worker(partners="stream,longshore", log_level="warn")
    (pid,) = wait_until(worker.children, 10, "the worker's process")
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{stream}")
    cluster.wait_idle(54, ("stream", "longshore"))
    assert cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", integration) == items
    status = Path(f"/proc/{pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s*(\d+) kB", status).group(1))
    worker.stop()
    return peak


@pytest.mark.timeout(150)
@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps what was freed")
def test_memory_does_not_grow_with_the_list(cluster, tmp_path, capsys):
    folder = tmp_path / "drivers" / "stream"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    cluster.add_drivers(folder.parent)
    sandbox = cluster.sandbox(limits="none", latency="1ms")
    little, much = (peak_kib(cluster, folder / "manifest.json", sandbox, items) for items in (1000, 100_000))
    with capsys.disabled():
        print(f"\nresident peak of a worker: {little / 1024:.1f} MiB for 1,000 items, {much / 1024:.1f} MiB for 100,000")
    assert much - little <= ROOM_MIB * 1024


@pytest.mark.timeout(90 * SLOWER)
@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps what was freed")
def test_memory_does_not_grow_with_what_is_deleted(cluster, tmp_path):
    """Nor do statements: 30,000 rows go in slices."""
    add_shelf(cluster, tmp_path, shelf_manifest())
    with contextlib.closing(Shelf(range(5))) as partner:
        integration = cluster.integration(partner, partner="shelf", base="", deletes_brake="1")
        worker = cluster.worker(partners="shelf,longshore", log_level="warn")
        (pid,) = wait_until(worker.children, 10, "the worker's process")
        peaks = []
        for many in (0, 30_000):
            cluster.sql("INSERT INTO resources (integration_id, external_id, kind, name, observed_at) SELECT %s, 'old-' || n, 'item', 'old', now()"
                        " FROM generate_series(1, %s) n", integration, many)
            cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{shelf}")
            cluster.wait_idle(54, ("shelf", "longshore"))
            assert cluster.one("SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL") == many
            peaks.append(int(re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text()).group(1)))
        assert cluster.one("SELECT max(deleted) FROM runs") == 30_000
        assert peaks[1] - peaks[0] <= 3 * 1024, peaks
