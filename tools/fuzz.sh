#!/bin/sh
# fuzz.sh BUILD_DIR TARGET SECONDS: runs one of libFuzzer's targets, or lists them. What it learns is
# kept in BUILD_DIR/corpus/TARGET, inputs that break something in BUILD_DIR/found; such an input,
# made small, belongs into tests/corpus/TARGET, where the unit tests replay it.
set -eu
build=$1 target=$2 seconds=$3
program=$build/src/fuzz-$target
if [ -z "$target" ] || [ ! -x "$program" ]; then
    echo "make fuzz TARGET=… [SECONDS=…]; the targets are:"
    find "$build/src" -maxdepth 1 -type f -name 'fuzz-*' | sed 's/.*fuzz-/  /' | sort
    exit 2
fi
mkdir -p "$build/corpus/$target" "$build/found"
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# What was freed a moment ago is watched, not what was long ago: that costs a third of the speed.
export ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=2:thread_local_quarantine_size_kb=64
# Where an input is many steps, short ones find more in the same time.
case $target in
core-core | wire-sigv4 | libexec-layer) length=1024 ;;
*) length=8192 ;;
esac
exec "$program" -max_total_time="$seconds" -max_len="$length" -entropic=0 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
    "$build/corpus/$target" "tests/corpus/$target"
