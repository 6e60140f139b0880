#!/bin/sh
# The image's entrypoint: gives libpq and the dashboard files that they accept, then becomes the command.
#
# Compose mounts a secret with the owner and the mode that the file has on the host, and libpq ignores a password
# file that others may read. So the secret PGPASSFILE_SECRET is copied to PGPASSFILE, which lies in memory. So is
# DASHBOARD_TOKEN_SECRET to dashboard_token beside it.
set -eu

copy() { # SECRET COPY
    if [ ! -r "$1" ]; then
        echo "error: user $(id -u) cannot read the secret $1" >&2
        echo "hint: make the secrets with deploy/make_secrets.sh: files of mode 0444 in a folder of mode 0700" >&2
        exit 3
    fi
    (umask 077 && rm -f "$2" && cat "$1" >"$2")
}

if [ -n "${PGPASSFILE_SECRET:-}" ]; then
    copy "$PGPASSFILE_SECRET" "$PGPASSFILE"
    if [ -n "${DASHBOARD_TOKEN_SECRET:-}" ]; then
        copy "$DASHBOARD_TOKEN_SECRET" "$(dirname "$PGPASSFILE")/dashboard_token"
    fi
fi
exec "$@"
