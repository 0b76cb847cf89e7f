"""Images made on the spot, from what the machine has."""
import pathlib
import shutil
import sys

import cluster as clusters

ROOT = pathlib.Path(__file__).resolve().parents[2]


def busybox_root(root):
    """Debian's busybox with every applet as a link, and the little a root needs besides."""
    for name in ("bin", "dev", "etc", "home", "mnt", "proc", "root", "sys", "tmp", "var"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in clusters.run("/bin/busybox", "--list").stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n"
                                         "daemon:x:1:1:daemon:/:/bin/sh\n"
                                         "web:x:1000:1001:web:/home:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\ndaemon:x:1:\nweb:x:1001:\n")


def busybox_archive(folder):
    """A docker-archive of busybox:1."""
    busybox_root(folder / "root")
    path = folder / "busybox.tar"
    clusters.run(sys.executable, str(ROOT / "tools" / "mkimage.py"), "--tag", "busybox:1", "--cmd",
                 "/bin/sh", "--output", str(path), str(folder / "root"))
    return path
