#!/usr/bin/env python3
"""Puts one defect after the other into a copy of the tree and shows that store-proof finds each.

Exit status 1 when one is not found. Arguments choose defects by name."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "tests/store_proof/store-proof"

# Name → file, text, replacement. The file tells whose proof must find it.
BUGS = {
    "commits are not synced": (
        "src/store/db.c", "synchronous=FULL", "synchronous=NORMAL"),
    "nothing is synced": (
        "src/store/db.c", "synchronous=FULL", "synchronous=OFF"),
    "a dead process's log is believed": (
        "src/store/db.c", 'settle_log(path, "-wal", err)', "0"),
    "done before the commit": (
        "src/store/worker.c",
        "        worker->run(worker->context, chain);\n        finish(worker, chain);",
        "        struct fl_worker_job *next = chain->next;\n"
        "        chain->next = NULL;\n        worker->run(worker->context, chain);\n"
        "        chain->next = next;\n        finish(worker, chain);"),
    "each operation is a transaction of its own": (
        "src/store/store_sqlite.c", '"BEGIN IMMEDIATE"', '""'),
    "a failed commit is ignored": (
        "src/store/store_sqlite.c", 'must(store, fl_db_exec(&store->db, "COMMIT"))',
        '(void)fl_db_exec(&store->db, "COMMIT")'),
    "the epoch is not raised on disk": (
        "src/store/store_sqlite.c", "SET epoch = epoch + 1 RETURNING epoch",
        "SET epoch = epoch RETURNING epoch + 1"),
    "a refused log transaction is acknowledged": (
        "src/store/logs_store.c", "->stored = db->failed == SQLITE_OK", "->stored = true"),
    "the logs store goes on after a failed sync": (
        "src/store/logs_store.c", "primary == SQLITE_FULL ||",
        "primary == SQLITE_FULL || primary == SQLITE_IOERR ||"),
    "the ship offset is left behind": (
        "src/store/logs_db.c", "bind_int(stmt, 6, stream->ship_offset)",
        "bind_int(stmt, 6, stream->ship_offset & ~(int64_t)1)"),
    "rename before fsync": (
        "src/base/fs.c", "rc == 0 && sync && fsync(fd) < 0", "rc == 0 && sync && fd < 0"),
    "a replaced file's directory is not synced": (
        "src/base/fs.c", "return sync ? sync_parent(dir_fd, path) : 0;", "return 0;"),
    "new directories are not synced": (
        "src/base/fs.c", "rc = sync_parent(AT_FDCWD, partial);", "rc = 0;"),
    "a short write counts as whole": (
        "src/base/fs.c", "n -= (size_t)written;", "n = 0;"),
    "a blob's bytes are not synced": (
        "src/image/store.c", "if (fsync(writer->fd) < 0 ||", "if ("),
    "a blob's name is not synced": (
        "src/image/store.c", "digest->hex) < 0 ||\n        fsync(store->blobs_fd) < 0)",
        "digest->hex) < 0)"),
    "a blob that another wrote is taken for durable": (
        "src/image/store.c", "if (fsync(store->blobs_fd) < 0)\n            return -errno;", ""),
    "a repository's name is not synced": (
        "src/image/refs.c", "    if (fsync(store->refs_fd) < 0)\n        return -errno;\n", ""),
    "a removed reference comes back": (
        "src/image/refs.c", "unlinkat(dir, tag_z, 0) < 0 || fsync(dir) < 0",
        "unlinkat(dir, tag_z, 0) < 0"),
}


def mutate(tree, file, old, new):
    path = tree / file
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        sys.exit(f"{file} does not hold {old!r} exactly once")
    path.write_text(text.replace(old, new), encoding="utf-8")
    return lambda: path.write_text(text, encoding="utf-8")


def subject_of(file):
    return ("logs" if "/logs_" in file else "store" if file.startswith("src/store/") else "files")


def found(tree, subject):
    """The first line that tells of the defect, or None."""
    subprocess.run(["ninja", "-C", "build", "--quiet", TARGET], cwd=tree, check=True,
                   stdout=subprocess.DEVNULL)
    run = subprocess.run([tree / "build" / TARGET, "--stop", "--subject", subject, "--states", "3000",
                          "--failing", "2", "--stride", "2"], capture_output=True, text=True, timeout=600)
    lines = [line for line in (run.stdout + run.stderr).splitlines()
             if line.startswith("#") and "repeat" not in line]
    return (lines or [run.stderr.strip() or f"exit status {run.returncode}"])[0] \
        if run.returncode else None


def main():
    missed = 0
    with tempfile.TemporaryDirectory(prefix="fairlead-bugs-") as scratch:
        tree = pathlib.Path(scratch) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build*", ".git", ".venv"))
        subprocess.run(["meson", "setup", "build", "-Dwerror=false"], cwd=tree, check=True,
                       stdout=subprocess.DEVNULL)
        for name in sys.argv[1:] or BUGS:
            mend = mutate(tree, *BUGS[name])
            line = found(tree, subject_of(BUGS[name][0]))
            mend()
            missed += line is None
            print(f"{'found ' if line else 'MISSED'} {name}: {line or ''}"[:200], flush=True)
    print(f"{len(sys.argv[1:] or BUGS) - missed} found, {missed} missed")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
