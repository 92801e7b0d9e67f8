"""Pages stream: an import of 100,000 items takes hardly more memory than one of 1,000."""

import json
import re
from pathlib import Path

import pytest

from harness import wait_until
from harness.process import SANITIZED

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
