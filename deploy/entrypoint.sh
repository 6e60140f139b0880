#!/bin/sh
# The image's entrypoint: gives libpq a password file that it accepts, then becomes the command.
#
# Compose mounts a secret with the owner and the mode that the file has on the host, and libpq ignores a password
# file that others may read. So the secret PGPASSFILE_SECRET is copied to PGPASSFILE, which lies in memory.
set -eu

if [ -n "${PGPASSFILE_SECRET:-}" ]; then
    if [ ! -r "$PGPASSFILE_SECRET" ]; then
        echo "error: user $(id -u) cannot read the secret $PGPASSFILE_SECRET" >&2
        echo "hint: make the secrets with deploy/make_secrets.sh: files of mode 0444 in a folder of mode 0700" >&2
        exit 3
    fi
    (umask 077 && rm -f "$PGPASSFILE" && cat "$PGPASSFILE_SECRET" >"$PGPASSFILE")
fi
exec "$@"
