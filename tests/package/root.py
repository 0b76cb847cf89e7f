"""A Debian root made by mmdebstrap, entered through a mount namespace that lives as long as the
object: what is mounted in it goes with it."""
import pathlib
import shutil
import subprocess

HOLD = """
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
for name in proc sys dev; do mount --rbind /$name $name; done
mount -t tmpfs tmpfs run
mkdir -p was
pivot_root . was
umount -l /was
echo ready
exec cat
"""


class Root:
    def __init__(self, directory, packages):
        self.path = pathlib.Path(directory)
        subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}",
                        "bookworm", str(self.path)], check=True, capture_output=True, timeout=600)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", HOLD, "sh", str(self.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"

    def run(self, *argv, check=True, timeout=300):
        """In the root, with nothing of the caller's environment."""
        result = subprocess.run(
            ["nsenter", f"--target={self.holder.pid}", "--mount", "--root", "--wd", "env", "-i",
             "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
             "DEBIAN_FRONTEND=noninteractive", *argv],
            capture_output=True, text=True, timeout=timeout, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: {result.returncode}\n{result.stdout}"
                                 f"{result.stderr}")
        return result

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(timeout=60)
        shutil.rmtree(self.path)
