"""Makes what the guest boots: Debian's cloud kernel, an initramfs that finds the disk, and a disk
with the programs under test, what they need at run time, and the checks.

The disk holds files of this machine: programs with the libraries that the loader finds for them.
Nothing is installed on this machine, and root is not needed. The kernel's package is fetched by
apt-get once and kept."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
DISK_MIB = 2048

PROGRAMS = ("/usr/bin/crun", "/usr/bin/tini-static", "/usr/sbin/runc", "/usr/sbin/nft", "/bin/ip", "/usr/bin/python3")
# Those whose answers depend on kernel and groups.
UNIT_TESTS = ("test-agent-runtime_container_test", "test-agent-images_test", "shim/test-shim")
# What a host with systemd loads by name as it is needed, with its dependencies.
MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "overlay", "bridge", "br_netfilter", "veth",
           "nf_tables", "nf_conntrack", "nf_conntrack_netlink", "nf_nat", "nft_chain_nat", "nft_ct",
           "nft_masq", "nft_nat", "nft_redir", "nft_fib", "nft_fib_inet", "nft_fib_ipv4",
           "nft_fib_ipv6", "nft_reject", "nft_reject_inet", "nft_limit", "nft_log")
BOOT_MODULES = ("virtio_pci", "virtio_blk")


def run(*argv, **more):
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=300,
                          **more).stdout


def fetch_kernel(cache):
    """The newest cloud kernel's package, unpacked; its release."""
    found = run("apt-cache", "depends", "linux-image-cloud-amd64")
    package = re.search(r"Depends: (linux-image-\S+)", found).group(1)
    kernel = cache / package
    if not (kernel / "done").exists():
        shutil.rmtree(kernel, ignore_errors=True)
        kernel.mkdir(parents=True)
        run("apt-get", "download", package, cwd=kernel)
        run("dpkg-deb", "-x", str(next(kernel.glob("*.deb"))), str(kernel))
        release = package.removeprefix("linux-image-")
        run("busybox", "depmod", "-b", str(kernel), release)
        (kernel / "done").touch()
    return kernel, package.removeprefix("linux-image-")


class Modules:
    """Which files a module needs, by the tables of depmod."""

    def __init__(self, kernel, release):
        self.base = kernel / "lib" / "modules" / release
        self.release = release
        self.files, self.needs = {}, {}
        for line in (self.base / "modules.dep").read_text().splitlines():
            name, _, needs = line.partition(":")
            self.files[self._key(name)] = name
            self.needs[self._key(name)] = [self._key(need) for need in needs.split()]

    @staticmethod
    def _key(path):
        return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")

    def closure(self, names):
        """Files of the modules, what is needed first."""
        done = []

        def visit(name):
            for need in self.needs.get(name, ()):
                visit(need)
            if name in self.files and self.files[name] not in done:
                done.append(self.files[name])
        for name in names:
            visit(name)
        return done

    def install(self, names, root):
        """Copies them and their tables to where modprobe looks."""
        target = root / "lib" / "modules" / self.release
        for file in self.closure(names):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.base / file, target / file)
        for table in ("modules.order", "modules.builtin"):
            shutil.copy(self.base / table, target / table)
        run("busybox", "depmod", "-b", str(root), self.release)


def busybox(root):
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in run("/bin/busybox", "--list").split():
        if not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")


def make_initramfs(modules, scratch):
    root = scratch / "initramfs"
    for name in ("dev", "proc", "sys", "root", "modules"):
        (root / name).mkdir(parents=True)
    busybox(root)
    files = modules.closure(BOOT_MODULES)
    for file in files:
        shutil.copy(modules.base / file, root / "modules")
    order = " ".join(pathlib.Path(file).name for file in files)
    (root / "modules" / "order").write_text(order + "\n")
    shutil.copy(HERE / "inside" / "boot.sh", root / "init")
    (root / "init").chmod(0o755)
    names = "\n".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")))
    target = scratch / "initramfs.cpio"
    with open(target, "wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"] if shutil.which("cpio") else
                       ["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(),
                       stdout=file, stderr=subprocess.DEVNULL, check=True, timeout=120)
    return target


def libraries(program):
    """Paths of the shared objects that the loader would take."""
    found = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/[^\s:]+) \(0x", found.stdout))


def put(path, root, target=None):
    to = root / str(target or path).lstrip("/")
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, to)


def install_programs(root, build):
    here = {"/usr/bin/fairlead": build / "fairlead"}
    for helper in ("fairlead-shim", "fairlead-launch.so", "fairlead-unpack", "fairlead-nft"):
        here[f"/usr/libexec/fairlead/{helper}"] = build / "libexec" / helper
    for name in UNIT_TESTS:
        here[f"/guest/unit/{pathlib.Path(name).name}"] = build / "src" / name
    for program in PROGRAMS:
        if os.path.exists(program):
            here[program] = pathlib.Path(program).resolve()
    wanted = set()
    for target, path in here.items():
        put(path, root, target)
        wanted |= libraries(path)
    standard = pathlib.Path(os.__file__).parent
    if not sys.executable.startswith("/usr/bin/"):
        standard = pathlib.Path(run("/usr/bin/python3", "-c", "import os; print(os.__file__)")
                                .strip()).parent
    shutil.copytree(standard, root / str(standard).lstrip("/"), symlinks=False,
                    ignore_dangling_symlinks=True,
                    ignore=shutil.ignore_patterns("test", "__pycache__", "config-*", "lib2to3",
                                                  "idlelib", "dist-packages", "ensurepip"))
    for extension in (standard / "lib-dynload").glob("*.so"):
        wanted |= libraries(extension)
    for library in wanted:
        put(library, root)


def install_image(root, scratch):
    """A docker-archive of busybox for the tasks."""
    base = scratch / "busybox"
    for name in ("dev", "etc", "proc", "sys", "tmp", "mnt", "out"):
        (base / name).mkdir(parents=True)
    busybox(base)
    (base / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    run(sys.executable, str(ROOT / "tools" / "mkimage.py"), "--tag", "busybox:1", "--cmd",
        "/bin/sh", "--output", str(root / "guest" / "busybox.tar"), str(base))


def make_disk(modules, build, scratch):
    root = scratch / "root"
    for name in ("dev", "proc", "sys", "run", "tmp", "etc", "usr/bin", "usr/lib", "usr/sbin",
                 "usr/lib64", "var/lib", "root", "guest"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    install_programs(root, build)
    busybox(root)
    (root / "guest" / "unit" / "libexec").symlink_to("/usr/libexec/fairlead")
    (root / "usr" / "sbin" / "modprobe").symlink_to("../bin/busybox")
    modules.install(MODULES, root)
    put("/usr/share/containers/seccomp.json", root)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc" / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    for name in ("init.sh", "checks.py", "guest.py"):
        put(HERE / "inside" / name, root, f"/guest/{name}")
    put(ROOT / "bench" / "client.py", root, "/guest/client.py")
    (root / "guest" / "init.sh").chmod(0o755)
    install_image(root, scratch)
    disk = scratch / "disk.ext4"
    run("/usr/sbin/mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(root), str(disk),
        f"{DISK_MIB}M")
    return disk


def build(programs, cache, scratch):
    """Paths of kernel, initramfs and disk, and the kernel's release."""
    kernel, release = fetch_kernel(cache)
    modules = Modules(kernel, release)
    initramfs = make_initramfs(modules, scratch)
    disk = make_disk(modules, programs, scratch)
    return kernel / "boot" / f"vmlinuz-{release}", initramfs, disk, release
