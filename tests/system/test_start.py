"""Wrong flags, missing keys, an unmigrated database: one clear line and the exit code of the contract."""

import subprocess

import pytest

from harness.process import BIN


def start(cluster, program, *words, **env):
    return subprocess.run([str(BIN / program), *words], env={**cluster.env(), **env}, capture_output=True, text=True, timeout=30)


def one_line(done):
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("program", ["longshore-worker", "longshore-scheduler", "longshore", "longshore-sandbox"])
def test_help_and_version(cluster, program):
    for flag in ("--help", "--version"):
        done = start(cluster, program, flag)
        assert done.returncode == 0 and done.stdout and not done.stderr


@pytest.mark.parametrize("program", ["longshore-worker", "longshore-scheduler"])
def test_wrong_flags(cluster, program):
    done = start(cluster, program, "--databse", "x")
    assert done.returncode == 2 and "--database" in one_line(done)
    done = start(cluster, program, "--log-level", "loud")
    assert done.returncode == 2 and "loud" in one_line(done) and "debug" in one_line(done)
    done = start(cluster, program, "extra")
    assert done.returncode == 2 and "extra" in one_line(done)
    done = start(cluster, program, "--redis", "redis://:hunter2secret@127.0.0.1:1")
    assert done.returncode == 2 and "LONGSHORE_REDIS_URL" in one_line(done) and "hunter2" not in done.stderr
    done = start(cluster, program, "--drivers", "/nowhere")
    assert done.returncode == 2 and "/nowhere" in done.stderr


def test_an_unknown_partner(cluster):
    done = start(cluster, "longshore-worker", "--partners", "gusty")
    assert done.returncode == 2 and "guesty" in one_line(done)


def test_a_short_secret_key(cluster):
    cluster.key_file.write_text("test c2hvcnQ=\n")
    done = start(cluster, "longshore-worker")
    assert done.returncode == 2 and "32" in done.stderr and "c2hvcnQ" not in done.stderr


@pytest.mark.parametrize("program", ["longshore-worker", "longshore-scheduler"])
def test_an_unmigrated_database(cluster, program):
    empty = cluster.postgres.create_database()
    done = start(cluster, program, LONGSHORE_DATABASE_URL=cluster.postgres.url(empty), LONGSHORE_LISTEN="127.0.0.1:0")
    cluster.postgres.drop_database(empty)
    assert done.returncode == 1 and "longshore migrate" in done.stderr, done.stderr
