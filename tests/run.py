#!/usr/bin/env python3
"""Runs every part of the test suite, adds up the counts, and ends with
`N passed, N failed, N skipped`. Exit status 1 if anything failed.

Parts: lints over the source, unit tests built by gcc, the same by clang under AddressSanitizer and
UndefinedBehaviorSanitizer, integration tests against real clusters. Arguments choose parts."""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}
_TAP = re.compile(r"^(not )?ok\b[ \d]*(?:- )?([^#\n]*)(#\s*skip\b.*)?", re.I | re.M)


class Counts:
    def __init__(self):
        self.passed, self.failures, self.skipped = 0, [], 0

    def add(self, name, outcome, text=""):
        if outcome == "passed":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped += 1
        else:
            self.failures.append(name)
            print(f"FAILED {name}\n{text}".rstrip(), flush=True)


def run_lints(counts):
    import lint
    for name, check in lint.LINTS.items():
        problems = check()
        if problems is None:
            counts.add(f"lint: {name}", "skipped")
        else:
            counts.add(f"lint: {name}", "failed" if problems else "passed",
                       "\n".join(f"  {p}" for p in problems[:50]))


def add_meson_test(counts, kind, test):
    """One executable: its TAP lines, or one row where it has none."""
    name = f"{kind}: {test['name'].split(' / ')[-1]}"
    stdout = test.get("stdout", "")
    text = stdout[-4000:] + test.get("stderr", "")[-8000:]
    if test["result"] == "SKIP":
        counts.add(name, "skipped")
        return
    rows = _TAP.findall(stdout)
    bad = 0
    for failed, title, skip in rows:
        outcome = "skipped" if skip else "failed" if failed else "passed"
        bad += outcome == "failed"
        counts.add(f"{name}: {title.strip()}", outcome, text)
    if test["result"] not in ("OK", "EXPECTEDFAIL") and not bad:
        counts.add(f"{name}: {test['result']} (exit status {test.get('returncode')})", "failed",
                   text)
    elif not rows:
        counts.add(name, "passed")


def run_meson(counts, kind, build, env=None):
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    subprocess.run(["meson", "test", "-C", str(build), "--no-rebuild", "--num-processes", "2",
                    "--timeout-multiplier", "3"],
                   env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    if not log.exists():
        counts.add(f"{kind}: meson test", "failed", "no test log was written")
        return
    for line in log.read_text().splitlines():
        add_meson_test(counts, kind, json.loads(line))
    owner = build.stat()
    for path in [log.parent, *log.parent.iterdir()]:
        os.chown(path, owner.st_uid, owner.st_gid)


def run_integration_file(path):
    """(exit status, output, report's test cases) of one file in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "junit.xml"
        done = subprocess.run(
            [str(ROOT / ".venv/bin/python"), "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider",
             f"--junitxml={report}", str(path)], check=False, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    return done.returncode, done.stdout, cases


def add_case(counts, case):
    name = f"integration: {case.get('classname', '').split('.')[-1]}: {case.get('name')}"
    kinds = {child.tag for child in case}
    counts.add(name, "failed" if kinds & {"failure", "error"} else
               "skipped" if "skipped" in kinds else "passed")


def run_integration(counts):
    """Two files at a time, long ones first: every test has clusters of its own."""
    files = sorted((ROOT / "tests/integration").glob("test_*.py"), key=lambda p: -p.stat().st_size)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, (status, output, cases) in zip(files, pool.map(run_integration_file, files)):
            before = len(counts.failures)
            for case in cases:
                add_case(counts, case)
            if status not in (0, 1, 5) or (status == 1 and len(counts.failures) == before):
                counts.add(f"integration: {path.name}", "failed", f"exit status {status}")
            if status not in (0, 5):
                print(output, flush=True)
            print(f"{path.name}: {output.strip().splitlines()[-1]}", flush=True)


PARTS = {
    "lint": run_lints,
    "unit": lambda counts: run_meson(counts, "unit", ROOT / "build"),
    "sanitized": lambda counts: run_meson(counts, "unit, sanitized", ROOT / "build-clang",
                                          SANITIZER_ENV),
    "integration": run_integration,
}


def main():
    os.chdir(ROOT)
    counts = Counts()
    for name in sys.argv[1:] or PARTS:
        begun = time.monotonic()
        before = (counts.passed, len(counts.failures), counts.skipped)
        PARTS[name](counts)
        after = (counts.passed, len(counts.failures), counts.skipped)
        row = [b - a for a, b in zip(before, after)]
        print(f"{name}: {row[0]} passed, {row[1]} failed, {row[2]} skipped "
              f"in {time.monotonic() - begun:.0f} s", flush=True)
    for name in counts.failures:
        print(f"failed: {name}")
    print(f"{counts.passed} passed, {len(counts.failures)} failed, {counts.skipped} skipped")
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
