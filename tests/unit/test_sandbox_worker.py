"""The worker's sandbox, each measure seen from inside a process that took it."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servers.party import sandbox

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Landlock, seccomp and prctl are Linux's")


def inside(script: str, *arguments: str, environment: dict[str, str] | None = None, timeout: float = 60) -> dict:
    """Run a script in a fresh process and return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *arguments],
        capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@linux
def test_limits_and_flags_are_in_force():
    status = inside("""
        import json, os, resource
        from servers.party import sandbox
        readable, writable = os.pipe()
        os.set_inheritable(readable, True)
        missing = sandbox.enter(memory_bytes=3 << 30)
        text = open("/proc/self/status").read()
        try:
            os.fstat(readable)
            leaked = True
        except OSError:
            leaked = False
        import ctypes
        signal_number = ctypes.c_int()
        ctypes.CDLL(None).prctl(2, ctypes.byref(signal_number))
        print(json.dumps({
            "missing": missing, "core": resource.getrlimit(resource.RLIMIT_CORE),
            "space": resource.getrlimit(resource.RLIMIT_AS), "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            "privileges": text.split("NoNewPrivs:")[1].split()[0], "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
            "umask": os.umask(0), "leaked": leaked, "own": os.fstat(writable).st_size, "names": sorted(os.environ),
            "parent": signal_number.value,
        }))
    """, environment={"BANK_DB_URL": "postgresql://u:p@h/d", "PGPASSWORD": "x", "NUMBA_NUM_THREADS": "1"})  # fmt: skip

    assert status["missing"] == []
    assert status["core"] == [0, 0]
    assert status["space"] == [3 << 30, 3 << 30]
    assert status["files"] <= sandbox.MAX_OPEN_FILES
    assert status["privileges"] == "1"
    assert status["dumpable"] == 0
    assert status["umask"] == 0o077
    assert status["parent"] == signal.SIGKILL
    assert not status["leaked"]
    assert status["own"] == 0
    assert {"BANK_DB_URL", "PGPASSWORD"}.isdisjoint(status["names"])
    assert {"NUMBA_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL"} <= set(status["names"])


def test_a_lower_hard_limit_stays():
    shown = inside("""
        import json, resource
        from servers.party import sandbox
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        sandbox.enter(memory_bytes=-1)
        print(json.dumps([resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_AS)]))
    """)

    assert shown == [[100, 100], list(resource.getrlimit(resource.RLIMIT_AS))]


CONFINED = """
    import ctypes, errno, json, os, socket, subprocess, sys
    from pathlib import Path
    from servers.party import sandbox
    from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
    folder, work = Path(sys.argv[1]), Path(sys.argv[2])
    network = sys.argv[3] == "network"
    sandbox.enter()
    missing = sandbox.confine(readable=[folder], writable=[work], network=network)
    def attempt(do):
        try:
            do()
        except OSError as error:
            return errno.errorcode.get(error.errno, "?")
        return "done"
    def connect():
        with socket.socket() as s:
            s.settimeout(1)
            s.connect(("127.0.0.1", int(sys.argv[4])))
    url = f"parquet:{folder}"
    source = open_source(SourceSpec(url=url, tables={"t": TableSpec()}), Limits(memory_bytes=64 << 20, threads=2))
    answer = source.run('SELECT SUM("v") AS s FROM "t"')["s"].values.tolist()
    engine = source._engine._connection
    copied = "done"
    try:
        engine.execute(f"copy (select 1 as v) to '{folder / 'part.parquet'}' (format parquet, use_tmp_file false)")
    except Exception as error:
        copied = type(error).__name__
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace(0, 0, 0, 0)
    print(json.dumps({
        "missing": missing, "answer": answer, "copied": copied, "ptrace": errno.errorcode.get(ctypes.get_errno()),
        "passwd": attempt(lambda: open("/etc/passwd").close()),
        "list": attempt(lambda: os.listdir("/")),
        "node": attempt(lambda: open(f"/proc/{os.getppid()}/environ").close()),
        "write data": attempt(lambda: open(folder / "new", "w").close()),
        "truncate data": attempt(lambda: os.truncate(folder / "part.parquet", 0)),
        "write work": attempt(lambda: (work / "checkpoint").write_text("x")),
        "remove work": attempt(lambda: (work / "checkpoint").unlink()),
        "exec": attempt(lambda: os.execv("/bin/true", ["true"])),
        "socket": attempt(lambda: socket.socket().close()),
        "unix": attempt(lambda: socket.socket(socket.AF_UNIX).close()),
        "connect": attempt(connect),
        "signal": attempt(lambda: os.kill(os.getppid(), 0)),
    }))
"""


@linux
@pytest.mark.parametrize("network", ["network", "alone"])
def test_a_confined_worker_reads_its_data_and_nothing_else(tmp_path, network):
    try:
        abi = inside("""
            import json
            from servers.party.kernel_locks import confine_files
            print(json.dumps(confine_files([], [], network=True)))
        """)
    except AssertionError as error:
        pytest.skip(f"this kernel has no Landlock: {str(error)[-100:]}")
    import socket

    folder, work = tmp_path / "data", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    pq.write_table(pa.table({"v": [1, 2, 3]}), folder / "part.parquet")
    with socket.create_server(("127.0.0.1", 0)) as server:
        shown = inside(CONFINED, str(folder), str(work), network, str(server.getsockname()[1]))

    assert shown["missing"] == []
    assert shown["answer"] == [6]
    assert shown["copied"] == "IOException"
    assert pq.read_table(folder / "part.parquet").num_rows == 3
    assert shown["ptrace"] == "EPERM"
    for refused in ("passwd", "list", "node", "write data"):
        assert shown[refused] == "EACCES", refused
    assert shown["truncate data"] == ("EACCES" if abi >= 3 else "done")
    assert shown["write work"] == shown["remove work"] == "done"
    assert shown["exec"] == "EPERM"
    if network == "network":
        assert shown["socket"] == shown["unix"] == shown["connect"] == "done"
    else:
        assert shown["socket"] == shown["unix"] == shown["connect"] == "EPERM"
    if abi >= 6:
        assert shown["signal"] == "EPERM"


@linux
def test_the_folder_in_which_the_node_was_started_stays_closed(tmp_path):
    (tmp_path / "identity.key").write_text("key")
    shown = inside(f"""
        import json, os, sys
        os.chdir({str(tmp_path)!r})
        sys.path.insert(0, os.getcwd())  # as `python -m` does
        from servers.party import sandbox
        missing = sandbox.confine(readable=[])
        import mpc.plan, sqlglot, scipy.sparse  # imports of installed libraries and of our own parts still work
        try:
            shown = open("identity.key").read()
        except PermissionError:
            shown = "refused"
        print(json.dumps([missing, shown]))
    """)
    if "Landlock" in shown[0]:
        pytest.skip("this kernel has no Landlock")

    assert shown[1] == "refused"


def test_a_process_is_confined_once():
    shown = inside("""
        import json
        from pathlib import Path
        from mpc.errors import InternalError
        from servers.party import sandbox
        sandbox.confine(readable=[Path("/srv/a"), Path("/srv/b")])
        again = sandbox.confine(readable=[Path("/srv/a")])
        refused = []
        for more in ({"readable": [Path("/srv/c")]}, {"readable": [], "network": True}):
            try:
                sandbox.confine(**more)
            except InternalError:
                refused.append(True)
        print(json.dumps([again, refused]))
    """)

    assert shown == [[], [True, True]]


ABUSES = [
    "select length(repeat('a', 4000000000))",
    "select length(repeat(repeat('a', 1000000000), 4))",
    "select list(i) from range(2000000000) t(i)",
    "select count(distinct i) from range(3000000000) t(i)",
    "select string_agg(repeat('x', 1000000), '') from range(100000) t(i)",
]

ABUSE = """
    import json, resource, sys, time
    from servers.party import sandbox
    from servers.party.sources.engine import Engine
    from servers.party.sources.spec import Limits
    sandbox.enter(memory_bytes=2 << 30)
    engine = Engine(Limits(memory_bytes=512 << 20, threads=2))
    engine.confine(())
    engine.lock()
    began, out = time.monotonic(), "ran"
    try:
        engine.values(sys.argv[1])
    except Exception as error:
        out = type(error).__name__
    spent = time.process_time() - began
    alive = engine.values("select 42")[0][0]
    print(json.dumps([out, spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, alive]))
"""


@linux
@pytest.mark.parametrize("statement", ABUSES)
def test_memory_abuse_ends_within_seconds_inside_the_limit(statement):
    out, seconds, peak_kilobytes, alive = inside(ABUSE, statement)

    assert out == "ResourceExhausted"
    assert seconds < 30  # of processor time, whatever else runs
    assert peak_kilobytes < (2 << 20) * 1.1
    assert alive == 42


def test_the_default_limit_leaves_room_for_every_library_and_the_engine():
    shown = inside("""
        import json
        from servers.party import sandbox
        sandbox.enter()
        import adbc_driver_manager, duckdb, numba, numpy, pyarrow.dataset, sqlglot, tenseal
        from servers.party.sources.engine import Engine
        from servers.party.sources.spec import Limits
        engine = Engine(Limits())
        engine.confine(())
        engine.lock()
        rows = engine.values("select count(*) from (select i, i::varchar s from range(5000000) t(i) group by all)")
        context = tenseal.context(tenseal.SCHEME_TYPE.BFV, 8192, plain_modulus=1032193)
        tenseal.bfv_vector(context, [1] * 8192)
        vectors = numpy.ones((64, 1 << 20))
        print(json.dumps([rows[0][0], float(vectors.sum())]))
    """)

    assert shown == [5_000_000, float(64 << 20)]
    assert sandbox.address_space(1 << 30, 2) <= sandbox.DEFAULT_MEMORY_BYTES


@linux
def test_a_worker_dies_with_its_node(tmp_path):
    worker = (
        "import os, time; from servers.party import sandbox; "
        "sandbox.enter(); print(os.getpid(), flush=True); time.sleep(60)"
    )
    node = f"""
        import os, subprocess, sys, time
        os.environ["SEALROOM_WORKER_PARENT"] = str(os.getpid())
        child = subprocess.Popen([sys.executable, "-c", {worker!r}], stdout=subprocess.PIPE)
        print(child.stdout.readline().decode().strip(), flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(node)], stdout=subprocess.PIPE, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:  # fmt: skip
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()

    assert gone(pid)


@linux
def test_a_worker_whose_node_is_gone_already_does_not_start():
    done = subprocess.run(
        [sys.executable, "-c", "from servers.party import sandbox; sandbox.enter(); print('started')"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SEALROOM_WORKER_PARENT": "1"}, cwd=ROOT,
        capture_output=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stdout == b""


def test_a_killed_worker_leaves_nothing(tmp_path):
    """Neither a lock on the data, nor temporary files outside its private folder, nor a process."""
    with duckdb.connect(str(tmp_path / "data.duckdb")) as connection:
        connection.execute("create table t as select i as v from range(2000000) r(i)")
    (tmp_path / "private").mkdir()
    script = f"""
        import os
        from servers.party import sandbox
        from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
        sandbox.enter()
        private = {str(tmp_path / "private")!r}
        limits = Limits(memory_bytes=64 << 20, threads=1, temp_directory=private, temp_bytes=1 << 30)
        spec = SourceSpec(url={f"duckdb:{tmp_path / 'data.duckdb'}"!r}, tables={{"t": TableSpec()}})
        source = open_source(spec, limits)
        print("ready", flush=True)
        source.run('SELECT COUNT(DISTINCT a."v" * 3 + b."v") AS n FROM "t" a, "t" b')
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        time.sleep(1)
        assert process.poll() is None
        process.kill()
        process.wait()

    assert gone(process.pid)
    assert {p.name for p in tmp_path.iterdir()} == {"data.duckdb", "private"}
    with duckdb.connect(str(tmp_path / "data.duckdb")) as connection:
        assert connection.execute("insert into t values (1); select count(*) from t").fetchall() == [(2_000_001,)]


def gone(pid: int) -> bool:
    """Whether a process has ended; one that waits for its parent to look has ended as well."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
