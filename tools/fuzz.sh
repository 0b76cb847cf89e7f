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
exec "$program" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
    "$build/corpus/$target" "tests/corpus/$target"
