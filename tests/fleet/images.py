"""Images of several layers: a base of Debian packages, what each program needs beyond it, and a file of
its own. Kept as OCI layouts."""
import pathlib
import shutil
import subprocess
import tempfile

BASE = "dash,coreutils,sed,grep,util-linux,libc-bin"
PROGRAMS = {
    "postgres": "postgresql-15",
    "python": "python3-minimal,libpython3-stdlib",
    "redis": "redis-server",
    "nginx": "nginx-light",
}
PASSWD = "root:x:0:0:root:/root:/bin/sh\npostgres:x:26:26:postgres:/data:/bin/sh\n"


def run(*argv):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=900,
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


class Builder:
    def __init__(self, scratch):
        self.scratch = pathlib.Path(scratch)

    def buildah(self, *argv):
        return run("buildah", "--storage-driver=vfs", f"--root={self.scratch}/storage",
                   f"--runroot={self.scratch}/run", *argv)

    def root(self, name, packages):
        """Debian packages, unpacked without their scripts."""
        target = self.scratch / name
        run("mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", "bookworm",
            target)
        return target

    def layer(self, image, base, *copies, **config):
        """One layer more: copies are (source, target)."""
        made = self.buildah("from", "--pull-never", base)
        for source, target in copies:
            self.buildah("add", made, source, target)
        for name, value in config.items():
            self.buildah("config", f"--{name}", value, made)
        self.buildah("commit", "--format=oci", "--rm", made, image)
        return image

    def make(self, folder):
        base = self.root("base", BASE)
        for name in ("proc", "sys", "tmp", "data"):
            (base / name).mkdir(exist_ok=True)
        (base / "etc" / "passwd").write_text(PASSWD)
        (base / "etc" / "group").write_text("root:x:0:\npostgres:x:26:\n")
        self.layer("fleet-base:1", "scratch", (base, "/"))
        for name, packages in PROGRAMS.items():
            more = self.root(name, f"{BASE},{packages}")
            note = self.scratch / f"{name}.txt"
            note.write_text(f"{name} of the fleet\n")
            self.layer(f"{name}-programs:1", "fleet-base:1", (more, "/"))
            self.layer(f"{name}:1", f"{name}-programs:1", (note, "/fleet.txt"), cmd="/bin/sh")
            self.buildah("push", f"{name}:1", f"oci:{folder / name}:1")


def make(folder):
    """Folder with an OCI layout for each program."""
    folder = pathlib.Path(folder)
    if not all((folder / name / "index.json").exists() for name in PROGRAMS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            Builder(scratch).make(folder)
    return folder
