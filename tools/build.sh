#!/bin/sh
# build.sh DIR [clang|fuzz]: configures DIR once and builds it incrementally. With "clang" it is the
# build for finding faults: clang, AddressSanitizer and UndefinedBehaviorSanitizer; with "fuzz" the
# same with libFuzzer's targets.
set -eu
dir=$1
if [ ! -f "$dir/build.ninja" ]; then
    rm -rf "$dir"
    if [ -n "${2:-}" ]; then
        fuzz=false
        [ "$2" = clang ] || fuzz=true
        CC=clang meson setup "$dir" -Db_sanitize=address,undefined -Db_lundef=false \
            -Dc_args=-fno-sanitize-recover=all -Dfuzz=$fuzz >"$dir.setup.log" 2>&1 || fail=1
    else
        meson setup "$dir" >"$dir.setup.log" 2>&1 || fail=1
    fi
    if [ "${fail:-0}" -ne 0 ]; then
        cat "$dir.setup.log" >&2
        echo "meson setup failed: is everything installed (sudo make setup)?" >&2
        rm -rf "$dir" "$dir.setup.log"
        exit 1
    fi
    rm -f "$dir.setup.log"
fi
exec ninja -C "$dir" --quiet
