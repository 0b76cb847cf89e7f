"""`fairlead image pull` as a person at a terminal sees it."""
import contextlib
import fcntl
import os
import struct
import subprocess
import termios

import cluster as clusters


def pull_on_terminal(cluster, image):
    """`fairlead image pull` with a terminal of its own; a function that gives all it has written."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen([clusters.FAIRLEAD, "image", "pull", "--data-dir", cluster.data_dir, image],
                               stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    os.set_blocking(master, False)
    written = bytearray()

    def seen():
        with contextlib.suppress(OSError):
            written.extend(os.read(master, 1 << 16))
        return written.decode(errors="replace")
    return process, seen
