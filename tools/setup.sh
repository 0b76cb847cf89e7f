#!/bin/sh
# setup.sh demo|all|package|nightly|bench-pulls: installs the Debian (or Ubuntu) packages that are
# missing. "demo" is what building and running need, "all" adds what the tests need, "package" what
# the Debian package is built and tried with, "nightly" what the tests in a virtual machine need,
# "bench-pulls" what pulls are compared with. Quick when nothing is missing.
set -eu

build="gcc libc6-dev make meson ninja-build pkg-config python3 ca-certificates
    libjansson-dev libssl-dev libuv1-dev libmicrohttpd-dev libwslay-dev libcurl4-openssl-dev
    libsqlite3-dev libzstd-dev libseccomp-dev libarchive-dev libisal-dev libnl-3-dev libnl-route-3-dev
    libnftables-dev libldns-dev libbsd-dev libpcre2-dev libyaml-dev libcmocka-dev uthash-dev"
run="crun tini golang-github-containers-common nftables iproute2"
demo="mmdebstrap busybox-static python3-venv"
check="clang clang-format curl procps mount passwd runc scdoc skopeo buildah zstd openssl rsyslog
    rsyslog-gnutls systemd"
pulls="docker.io podman docker-registry"
package="debhelper dpkg-dev scdoc mmdebstrap busybox-static python3-venv"
nightly="qemu-system-x86 e2fsprogs"

missing() {
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :)
        [ "$status" = installed ] || echo "$package"
    done
}

fetch() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Package lists may be missing or old: one retry with fresh ones.
install() {
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: missing packages, run \`sudo make setup\`:" "$@" >&2
        exit 1
    fi
    echo "setup: installing" "$@"
    log=$(mktemp)
    if ! fetch "$@" >"$log" 2>&1; then
        apt-get update -q >>"$log" 2>&1 || :
        if ! fetch "$@" >>"$log" 2>&1; then
            tail -n 20 "$log" >&2
            rm -f "$log"
            echo "setup: apt-get could not install:" "$@" >&2
            exit 1
        fi
    fi
    rm -f "$log"
}

case ${1:-all} in
demo) install $(missing $build $run $demo) ;;
all)
    install $(missing $build $run $demo $check)
    # The sanitizers' runtime is packaged by clang's version.
    version=$(clang -dumpversion | cut -d. -f1)
    install $(missing "libclang-rt-$version-dev")
    ;;
package) install $(missing $build $run $package) ;;
nightly) install $(missing $build $run $demo $nightly) ;;
bench-pulls) install $(missing $build $run $demo $pulls) ;;
*)
    echo "usage: setup.sh demo|all|package|nightly|bench-pulls" >&2
    exit 2
    ;;
esac
