#!/usr/bin/env python3
"""Runs the checks of tests/guest/inside in a virtual machine whose only hierarchy is cgroup v2, and
ends with `N passed, N failed, N skipped`.

Takes the build's directory (build/). QEMU emulates unless --kvm is given; boots that hang,
which happens under emulation, are killed and tried again, and counted. --keep leaves disk and
console output in build/guest/last."""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import build as building  # noqa: E402

BOOT_S = 60
SILENCE_S = 240
WHOLE_S = 1500
TRIES = 3
MEMORY_MIB = 1024
_RESULT = re.compile(r"^(ok|not ok) \d+ - (.*?)(?: # SKIP (.*))?$")


def command(kernel, initramfs, disk, options):
    return ["qemu-system-x86_64", "-M", f"q35,accel={'kvm' if options.kvm else 'tcg'}",
            "-cpu", "max", "-m", str(MEMORY_MIB), "-smp", str(options.cpus), "-nodefaults",
            "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
            "-kernel", str(kernel), "-initrd", str(initramfs),
            "-append", "console=ttyS0 quiet loglevel=3 reboot=t panic=-1 random.trust_cpu=on"
                       + (f" checks={options.only}" if options.only else ""),
            "-drive", f"id=disk,file={disk},format=raw,if=none,snapshot=on",
            "-device", "virtio-blk-pci,drive=disk"]


class Guest:
    """One boot: its lines, and a watchdog that ends it when it is silent for too long."""

    def __init__(self, argv, console):
        self.lines, self.is_up, self.is_over, self.hung = [], False, False, None
        self.heard = self.begun = time.monotonic()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.console = console
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while self.process.poll() is None:
            now = time.monotonic()
            if not self.is_up and now - self.begun > BOOT_S:
                self.hung = f"no boot within {BOOT_S} s"
            elif now - self.heard > SILENCE_S:
                self.hung = f"silent for {SILENCE_S} s"
            elif now - self.begun > WHOLE_S:
                self.hung = f"not done within {WHOLE_S} s"
            if self.hung:
                self.process.kill()
                return
            time.sleep(0.5)

    def run(self):
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.heard = time.monotonic()
            self.console.write(f"{self.heard - self.begun:8.2f} {line}\n")
            self.console.flush()
            self.lines.append(line)
            self.is_up = self.is_up or line.endswith("guest: up")
            self.is_over = self.is_over or line.endswith("guest: end")
        self.process.wait()


def attempt(argv, console):
    """The guest that came up, and how many did not."""
    for hangs in range(TRIES):
        guest = Guest(argv, console)
        guest.run()
        if guest.is_up:
            return guest, hangs
        print(f"boot {hangs + 1}: {guest.hung or 'ended early'}", flush=True)
    return None, TRIES


def report(guest):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for line in guest.lines:
        match = _RESULT.match(line)
        if not match:
            continue
        outcome = "skipped" if match[3] else "passed" if match[1] == "ok" else "failed"
        counts[outcome] += 1
        if outcome != "passed":
            print(f"{outcome}: {match[2]}{': ' + match[3] if match[3] else ''}")
    if not guest.is_over:
        print(f"failed: the guest did not come to its end ({guest.hung or 'it ended early'})")
        counts["failed"] += 1
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--only", choices=("host", "nested", "runc", "unit"))
    parser.add_argument("--kvm", action="store_true", help="faster, where /dev/kvm works")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    programs = options.programs.resolve()
    cache = programs / "guest"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fairlead-guest-") as name:
        scratch = pathlib.Path(name)
        kernel, initramfs, disk, release = building.build(programs, cache, scratch)
        begun = time.monotonic()
        with open(scratch / "console", "w+") as console:
            guest, hangs = attempt(command(kernel, initramfs, disk, options), console)
            console.seek(0)
            text = console.read()
        if options.keep:
            shutil.rmtree(cache / "last", ignore_errors=True)
            (cache / "last").mkdir()
            for path in (initramfs, disk, scratch / "console"):
                shutil.copy(path, cache / "last")
    counts = report(guest) if guest else {"passed": 0, "failed": 1, "skipped": 0}
    if counts["failed"]:
        print(text)
    print(f"kernel {release}, cgroup v2: {time.monotonic() - begun:.0f} s, boots that hung: {hangs}")
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
