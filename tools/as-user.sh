#!/bin/sh
# as-user.sh COMMAND…: runs a command as the user behind sudo when the checkout is his, so that
# `sudo make …` leaves no file of root's in it; without sudo, or in root's own checkout, as is.
set -eu
if [ "$(id -u)" -ne 0 ] || [ "${SUDO_UID:-0}" -eq 0 ] || [ "$(stat -c %u .)" != "$SUDO_UID" ]; then
    exec "$@"
fi
for made in build build-clang build-fuzz .venv bench/out; do
    if [ -e "$made" ] && [ "$(stat -c %u "$made")" != "$SUDO_UID" ]; then
        chown -R "$SUDO_UID:$SUDO_GID" "$made"
    fi
done
home=$(getent passwd "$SUDO_UID" | cut -d: -f6)
exec setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups \
    env HOME="${home:-/nonexistent}" "$@"
