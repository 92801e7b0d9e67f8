"""Fixtures of the system tests; README.md says what there is and how a test is written."""

import os
import shutil
import socketserver
import tempfile
from pathlib import Path

import pytest

from harness import Cluster, Longshore, Postgres, Sandbox
from harness.process import BIN, PATIENCE

socketserver.TCPServer.request_queue_size = 128  # of partners within the test: with 5 a connection waits a second for its second try


def pytest_collection_modifyitems(items):
    """The limits are those of a quiet machine, as in wait_until."""
    for item in items:
        marked = item.get_closest_marker("timeout")
        item.add_marker(pytest.mark.timeout(PATIENCE * (marked.args[0] if marked else 120)), append=False)


@pytest.fixture(scope="session", autouse=True)
def programs():
    """Says once and clearly that nothing was built, instead of failing in each test."""
    missing = [p for p in ("longshore", "longshore-worker", "longshore-scheduler", "longshore-sandbox")
               if not (BIN / p).exists()]
    if missing:
        pytest.exit(f"{BIN} has no {', '.join(missing)}: run make first, or set LONGSHORE_BIN", returncode=2)


def memory():
    """A folder in memory, if there is one with room: each test makes and drops a thousand small files."""
    shm = Path("/dev/shm")
    return shm if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 2 << 30 else None


@pytest.fixture(scope="session")
def postgres():
    # Not under pytest's own folders: those are closed to the user postgres.
    folder = Path(tempfile.mkdtemp(prefix="longshore-postgres-", dir=memory()))
    folder.chmod(0o755)
    server = Postgres(folder).start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
    assert not server.check(), "\n".join(server.check())


@pytest.fixture(scope="session")
def migrated(postgres, tmp_path_factory):
    """A database at the newest schema; tests get copies of it."""
    name = postgres.create_database()
    folder = tmp_path_factory.mktemp("migrate")
    command = Longshore(folder, {"LONGSHORE_DATABASE_URL": postgres.url(name), "PATH": "/usr/bin:/bin"})
    command("migrate")
    return name


def judged(problems):
    assert not problems, "found at the end of the test:\n" + "\n\n".join(problems)


@pytest.fixture
def cluster(postgres, migrated, tmp_path):
    """A started Redis, a migrated database, a secret key.  Whatever is added is stopped and judged at the end."""
    database = postgres.create_database(template=migrated)
    cluster = Cluster(tmp_path, postgres, database)
    cluster.redis.start()
    yield cluster
    problems = cluster.close()
    if not postgres.is_running():
        postgres.start()
    postgres.drop_database(database)
    judged(problems)


@pytest.fixture
def sandbox(tmp_path):
    """Makes sandboxes without anything else: sandbox(listings=50, limits="none")."""
    made = []

    def make(**flags):
        made.append(Sandbox(tmp_path, name=f"sandbox{len(made) + 1}", **flags).start())
        return made[-1]

    yield make
    problems = []
    for one in made:
        one.stop()
        problems += one.check()
    judged(problems)
