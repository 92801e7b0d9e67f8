"""Postgres in trouble: it refuses, it is full, it fails over, it stands behind PgBouncer.  Jobs wait and go on, nothing is
acknowledged that is not stored, and the log says what it is."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

from harness import Longshore, Postgres, wait_until
from harness.guesty import differences, expected, listing_row, reservation_row
from harness.process import SLOWER, Process, lease_port

LISTINGS, RESERVATIONS = 120, 20
pytestmark = pytest.mark.timeout(60 * max(SLOWER, 2))  # servers of their own, one trouble after the other


@contextlib.contextmanager
def admin(postgres, database="postgres"):
    with contextlib.closing(postgres.connect(database)) as connection, connection.cursor() as cursor:
        yield cursor


def at(cluster, url):
    """The programs reach Postgres by this URL from now on."""
    env = cluster.env
    cluster.env = lambda: {**env(), "LONGSHORE_DATABASE_URL": url}
    cluster.longshore.env = cluster.env()


def until(cluster, condition, timeout=30):
    """What waits for a store that is away waits for 5 s: here it is due at once."""
    def hastened():
        for p in ("guesty", "longshore"):
            delayed = cluster.redis.client.zrange(f"delayed:{{{p}}}", 0, -1)
            if delayed:
                cluster.redis.client.zadd(f"delayed:{{{p}}}", {member: 1 for member in delayed}, xx=True)
        return condition()

    wait_until(hastened, timeout * SLOWER, cluster.describe, 0.05)


def assert_all_there(cluster, sandbox, integration):
    rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("listing"), listing_row)[0])
    rows = cluster.sql("SELECT * FROM transactions WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("reservation"), reservation_row)[0])
    assert cluster.dead() == []


# ---- refusals ----

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"


@contextlib.contextmanager
def read_only(cluster, sql):
    """As a standby is, or a managed server whose disk is full; connections of then stay so."""
    sql(f"ALTER DATABASE {cluster.database} SET default_transaction_read_only = on")
    sql(TERMINATE)
    yield r"event=postgres_refuses sqlstate=25006"
    sql(f"ALTER DATABASE {cluster.database} RESET default_transaction_read_only")


@contextlib.contextmanager
def locked(cluster, sql):
    """Somebody's migration holds the table."""
    sql("ALTER ROLE app SET lock_timeout = '200ms'")
    sql(TERMINATE)
    with contextlib.closing(cluster.postgres.connect(cluster.database)) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
        yield r"event=job_later .*job=locked .*class=hold rule=\"hard limit\" .*canceling statement due to lock timeout"
        other.rollback()
    sql("ALTER ROLE app RESET lock_timeout")


@contextlib.contextmanager
def too_slow(cluster, sql):
    """What is over the role's statement_timeout as a whole goes in parts."""
    cluster.sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.004); RETURN new; END $$;"
                "CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON resources FOR EACH ROW EXECUTE FUNCTION slow()")
    sql("ALTER ROLE app SET statement_timeout = '250ms'")
    sql(TERMINATE)
    yield r"event=postgres_refuses sqlstate=57014"
    until(cluster, lambda: cluster.busy() == 0)  # without help
    cluster.sql("DROP TRIGGER slow ON resources")
    sql("ALTER ROLE app RESET statement_timeout")


@contextlib.contextmanager
def out_of_connections(cluster, sql):
    sql("ALTER ROLE app CONNECTION LIMIT 0")
    sql(TERMINATE)
    yield r"event=postgres_down .*too many connections for role"
    sql("ALTER ROLE app CONNECTION LIMIT -1")


@pytest.fixture
def app(cluster):
    """The programs are an ordinary role, which limits bind."""
    with admin(cluster.postgres) as cursor:
        with contextlib.suppress(psycopg2.errors.DuplicateObject):
            cursor.execute("CREATE ROLE app LOGIN")
        cluster.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO app; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app")
        at(cluster, f"postgresql://app@127.0.0.1:{cluster.postgres.port}/{cluster.database}")
        yield cursor.execute
        cursor.execute("ALTER ROLE app RESET ALL; ALTER ROLE app CONNECTION LIMIT -1")


def test_whatever_postgres_refuses_jobs_wait_and_go_on_by_themselves(cluster, app):
    sandbox = cluster.sandbox(listings=LISTINGS, reservations=RESERVATIONS, clean=True, limits="none")
    cluster.scheduler()
    worker = cluster.worker(soft_limit="1s", hard_limit="2s")
    worker.wait_for_log("event=started", 20 * SLOWER)
    for trouble in (read_only, locked, too_slow, out_of_connections):
        integration = cluster.integration(sandbox)
        since = worker.log_size()
        with trouble(cluster, app) as words:
            cluster.push({"task": "import_resources", "integration_id": integration, "id": trouble.__name__})
            until(cluster, lambda: worker.log_contains(words, since))
            if trouble is not too_slow:
                assert not worker.log_contains(f"event=job_done job={trouble.__name__}"), "nothing was stored"
        until(cluster, lambda: cluster.busy() == 0)
        assert_all_there(cluster, sandbox, integration)
        assert worker.log_contains(f"event=job_done job={trouble.__name__}", since)
    assert worker.log_contains("event=postgres_refuses sqlstate=55P03")
    assert not worker.log_contains("class=limit|event=process_died"), "no retry was used, no process died"


# ---- a disk that is full, and a failover ----

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
/* Table files cannot grow while the file FULL_DISK names is there. */
static int full(int fd)
{
	char link[64], path[512];
	const char *flag = getenv("FULL_DISK");
	if (!flag || access(flag, F_OK) != 0) return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0) return 0;
	path[n] = 0;
	return strstr(path, "/base/") != NULL;
}
#define CALL(name, ret, args, ...) \
	ret name args { \
		static ret (*real) args; \
		if (!real) real = (ret (*) args)dlsym(RTLD_NEXT, #name); \
		if (full(fd)) { errno = ENOSPC; return -1; } \
		return real(__VA_ARGS__); \
	}
CALL(pwrite, ssize_t, (int fd, const void *b, size_t n, off_t o), fd, b, n, o)
CALL(pwrite64, ssize_t, (int fd, const void *b, size_t n, off64_t o), fd, b, n, o)
CALL(pwritev, ssize_t, (int fd, const struct iovec *v, int n, off_t o), fd, v, n, o)
CALL(pwritev64, ssize_t, (int fd, const struct iovec *v, int n, off64_t o), fd, v, n, o)
int posix_fallocate(int fd, off_t o, off_t n) { return full(fd) ? ENOSPC : ftruncate(fd, o + n) ? errno : 0; }
int posix_fallocate64(int fd, off64_t o, off64_t n) { return full(fd) ? ENOSPC : ftruncate64(fd, o + n) ? errno : 0; }
"""


class Pair:
    """A primary that commits once its standby has it, and the standby."""

    def __init__(self, folder):
        self.folder = folder
        self.flag = folder / "full"
        shim = folder / "full.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, "-x", "c", "-", "-ldl"], input=SHIM, text=True, check=True)
        env = {"PATH": os.environ["PATH"], "LD_PRELOAD": str(shim), "FULL_DISK": str(self.flag)}
        self.primary, self.standby = Postgres(self._folder("a")), Postgres(self._folder("b"))
        self.primary.env = env
        self.primary.argv += ["-c", "wal_level=replica", "-c", "max_wal_senders=4", "-c", "autovacuum=off"]
        self.primary.exits.add(-signal.SIGKILL)

    def _folder(self, name):
        folder = self.folder / name
        folder.mkdir()
        folder.chmod(0o755)
        return folder

    def start(self):
        a, b = self.primary.start(), self.standby
        if b.user:
            shutil.chown(b.folder, b.user)
        done = subprocess.run([str(b.programs / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(a.port), "-U", "postgres", "-D",
                               str(b.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"], capture_output=True, text=True,
                              cwd=b.folder, user=b.user, group=b.user, extra_groups=[] if b.user else None)
        assert done.returncode == 0, done.stderr
        b.argv += ["-c", "hot_standby=on"]
        b.start()
        with admin(a) as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            cursor.execute("SELECT pg_reload_conf()")
            wait_until(lambda: cursor.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") or
                       cursor.fetchone()[0] == 1, 20 * SLOWER, "the standby to follow")
        return self

    def fail_over(self):
        self.primary.kill9()
        with admin(self.standby) as cursor:
            cursor.execute("SELECT pg_promote()")

    def url(self, database):
        return (f"postgresql://postgres@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/{database}"
                "?target_session_attrs=read-write")


@pytest.fixture
def pair():
    folder = Path(tempfile.mkdtemp(prefix="longshore-pair-"))
    folder.chmod(0o755)
    pair = Pair(folder)
    try:
        yield pair.start()
    finally:
        pair.primary.stop()
        pair.standby.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_and_then_a_failover_lose_nothing(cluster, pair):
    name = pair.primary.create_database()
    at(cluster, pair.url(name))
    cluster.postgres, cluster.database = pair.primary, name
    cluster.longshore("migrate")
    sandbox = cluster.sandbox(listings=600, reservations=RESERVATIONS, clean=True, latency="150ms", limits="none")
    integration = cluster.integration(sandbox)
    scheduler, worker = cluster.scheduler(), cluster.worker()
    worker.wait_for_log("event=started", 20 * SLOWER)
    pair.flag.write_text("")
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "all"})
    worker.wait_for_log("event=postgres_refuses sqlstate=53100", 20 * SLOWER)
    assert cluster.one("SELECT count(*) FROM resources") < 600
    pair.flag.unlink()
    until(cluster, lambda: cluster.one("SELECT count(*) FROM resources") >= 100)
    pair.fail_over()
    cluster.postgres = pair.standby
    until(cluster, lambda: cluster.busy() == 0, 40)
    assert_all_there(cluster, sandbox, integration)
    assert worker.log_contains("event=job_done .*job=all") or worker.log_contains("event=job_done job=all")
    scheduler.wait_ready(20 * SLOWER)


# ---- PgBouncer ----

class PgBouncer(Process):
    def __init__(self, folder, postgres, database):
        self.port, user = lease_port(), None
        folder = Path(folder)
        program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "pgbouncer is not installed: deploy/local/deps test installs it"
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "ini").write_text(f"""[databases]
{database} = host=127.0.0.1 port={postgres.port} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
server_reset_query_always = 1
server_reset_query = DISCARD ALL
""")
        if os.getuid() == 0:  # it refuses to be root
            user = "postgres"
            for path in (folder, folder / "users", folder / "ini"):
                shutil.chown(path, user)
        super().__init__("pgbouncer", [program, folder / "ini"], folder, user=user, exits=(0, 1))

    def check(self):
        return list(self.problems)


@pytest.fixture
def bouncer(postgres, tmp_path):
    """Between all programs and a database that is empty still."""
    folder = Path(tempfile.mkdtemp(prefix="longshore-pgbouncer-"))
    folder.chmod(0o755)
    name = postgres.create_database()
    bouncer = PgBouncer(folder, postgres, name)
    bouncer.database = name
    bouncer.start()
    bouncer.wait_for_log("process up", 20 * SLOWER)
    yield bouncer
    bouncer.stop()
    assert not bouncer.check(), bouncer.check()
    postgres.drop_database(name)
    shutil.rmtree(folder, ignore_errors=True)


def test_all_programs_work_behind_pgbouncer_in_transaction_mode(cluster, bouncer):
    """Each transaction on whatever server connection is free, which forgets everything between two."""
    at(cluster, f"postgresql://postgres@127.0.0.1:{bouncer.port}/{bouncer.database}")
    cluster.database = bouncer.database
    runs = [cluster.longshore.start("migrate") for _ in range(3)]
    assert [(p.communicate(timeout=50), p.returncode)[1] for p in runs] == [0, 0, 0]
    sandbox = cluster.sandbox(listings=LISTINGS, reservations=RESERVATIONS, clean=True, limits="none")
    integrations = [cluster.integration(sandbox) for _ in range(4)]
    scheduler, worker = cluster.scheduler(recovery_over=3), cluster.worker(processes=2)
    for integration in integrations:
        cluster.longshore("push", "guesty", "import_resources", "--integration", integration)
    done = cluster.longshore("push", "guesty", "noop", "--wait", "20s", "--json").json()
    assert done["state"] == "done", done
    cluster.push("not json")
    cluster.wait_idle(40)
    for integration in integrations:
        rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
        assert not differences(rows, expected(sandbox.items("listing"), listing_row)[0])
    wait_until(lambda: cluster.longshore("dead", "list", "--json").json(), 20 * SLOWER, "the dead letter")
    (letter,) = cluster.longshore("dead", "list", "--json").json()
    cluster.longshore("dead", "discard", letter["id"])
    assert cluster.status()["leader"]
    assert cluster.longshore("queue", "recovery", "--json").out and cluster.longshore("run", "list", "--json").json()
    cluster.longshore("queue", "pause", "guesty", "--reason", "try it")
    cluster.longshore("queue", "resume", "guesty")
    assert cluster.longshore.run("doctor").code in (0, 1)
    for process in (scheduler, worker):
        assert not process.log_contains(r"postgres_down|prepared statement|not exist|unsupported"), process.log_tail()
    assert not bouncer.log_contains(r"unsupported|ERROR"), bouncer.log_tail()


# ---- migrate ----

def test_migrate_by_many_at_once_and_killed_on_the_way(cluster, postgres):
    name = postgres.create_database()
    try:
        cluster.longshore.env = {**cluster.env(), "LONGSHORE_DATABASE_URL": postgres.url(name)}
        victims = [cluster.longshore.start("migrate") for _ in range(4)]
        others = [cluster.longshore.start("migrate") for _ in range(4)]
        with admin(postgres, name) as cursor:
            wait_until(lambda: cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") or
                       cursor.fetchone()[0] or others[-1].poll() is not None, 20 * SLOWER, "somebody to begin")
            for victim in victims:
                victim.kill()
            ends = [(p.wait(50), p.communicate()[0]) for p in others]
            assert [code for code, _ in ends] == [0] * 4, ends
            assert cluster.longshore("migrate").out.startswith("nothing to do")
            cursor.execute("SELECT count(*), count(DISTINCT number), min(number), max(number) FROM schema_migrations")
            n, distinct, first, last = cursor.fetchone()
            files = sorted(int(p.name[:4]) for p in (Path(__file__).parents[2] / "sql").glob("[0-9]*.sql"))
            assert (n, distinct, first, last) == (len(files), len(files), files[0], files[-1])
        for victim in victims:
            victim.communicate()
    finally:
        cluster.longshore.env = cluster.env()
        postgres.drop_database(name)
