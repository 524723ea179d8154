"""What the lanes over several hosts share: an analyst that answers line by line, and the table of faults."""

import datetime as dt
import json
import re
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from mpc.client.certificates import facts
from mpc.keys.identity import TlsMaterial, issue_leaf
from mpc.parties import Role

__all__ = ["DRIVER", "Analyst", "Faults", "expired_certificate", "program", "watch_memory"]

DRIVER = """
import json, sys, time
from mpc.client import connect
from mpc.errors import MpcError
from mpc.learn import LinearRegression
client = connect(sys.argv[1])
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked, started = json.loads(line), time.monotonic()
    seen = set()
    def watch(event):
        if event.step not in seen:
            seen.add(event.step)
            print(json.dumps({"step": event.step}), flush=True)
    try:
        if "train" in asked:
            spec = {**asked["train"], "features": tuple(asked["train"]["features"])}
            model = client.train(LinearRegression(**spec)).model
            answer = {"intercept": float(model.intercept), "coefficients": dict(model.coefficients)}
        else:
            answer = {"rows": [list(r) for r in client.sql(asked["sql"], watcher=watch).values]}
    except MpcError as error:
        answer = {"code": error.code, "said": error.public}
    print(json.dumps({**answer, "seconds": time.monotonic() - started}, default=float), flush=True)
"""
"""Runs where the analyst is, keeps one client open, and tells every step that it hears of."""


class Analyst:
    """The driver's other end."""

    def __init__(self, command):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._errors = []
        threading.Thread(target=lambda: self._errors.extend(self._process.stderr), daemon=True).start()
        self._read()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the analyst's process ended: " + "".join(self._errors)[-2000:])
        return json.loads(line)

    def ask(self, request, on_step=None):
        """Rows or an error, with the seconds it took."""
        self._process.stdin.write(json.dumps(request if isinstance(request, dict) else {"sql": request}) + "\n")
        self._process.stdin.flush()
        while "step" in (answer := self._read()):
            if on_step:
                on_step(answer["step"])
        return answer

    def until_rows(self, sql, limit_s=120):
        """Seconds until a query works, and its rows."""
        started = time.monotonic()
        while time.monotonic() - started < limit_s:
            answer = self.ask(sql)
            if "rows" in answer:
                return time.monotonic() - started, answer["rows"]
            time.sleep(0.2)
        raise AssertionError(answer)

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        self._process.stderr.close()


class Faults:
    """What was done, what the analyst saw, how long until the next query worked."""

    def __init__(self, lane):
        self.lane, self.lines, self.recoveries = lane, [], []

    def add(self, done, answer, recovery_s):
        saw = f"{answer['code']} {answer['said']}" if "code" in answer else "the right answer"
        self.recoveries.append((done, recovery_s))
        self.lines.append(f"{done:<46} | {saw[:140]:<140} | {answer['seconds']:6.1f} s | {recovery_s:6.1f} s")

    def report(self):
        head = f"{'what was done':<46} | {'what the analyst saw':<140} | {'after':>8} | {'next ok':>8}"
        return "\n".join(("", f"faults of the {self.lane}", head, "-" * len(head), *self.lines, ""))


def expired_certificate(folder, name):
    """Write a certificate over a party's own that its own root issued and that ended yesterday."""
    keys = folder / "keys"
    root = TlsMaterial((keys / "root.pem").read_bytes(), (keys / "root.key").read_bytes())
    hosts = facts((keys / "tls.pem").read_bytes()).hosts
    leaf = issue_leaf(root, Role.PARTY, name, hosts, days=1, now=dt.datetime.now(dt.UTC) - dt.timedelta(days=2))
    (keys / "tls.key").write_bytes(leaf.key)  # in place: a container sees the inode
    (keys / "tls.pem").write_bytes(leaf.certificate)


def program(command, **options):
    """Run a command to its end and return its output; its own words are in the failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


_MEMORY_EVERY_S = 0.02


@contextmanager
def watch_memory(pids, highest):
    """Note the megabytes that nodes, by name and process id, and their workers hold, at most, meanwhile.

    Read from outside, again and again: a worker ends with its job, and what it held is gone with it.
    """
    ended = threading.Event()

    def watch():
        while not ended.wait(_MEMORY_EVERY_S):
            for name, pid in pids.items():
                workers = [w for t in Path(f"/proc/{pid}/task").glob("*/children") for w in _read(t).split()]
                for what, process in [(name, pid), *((f"{name}'s worker", w) for w in workers)]:
                    if found := re.search(r"VmRSS:\s+(\d+)", _read(Path(f"/proc/{process}/status"))):
                        highest[what] = max(highest.get(what, 0.0), int(found[1]) / 1e3)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _read(path):
    """A file of a process, which may just have ended."""
    with suppress(OSError):
        return path.read_text()
    return ""
