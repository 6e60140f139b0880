#!/bin/sh
# Makes the secrets of docker-compose.yml: secrets/database_password for the server, the same password as
# secrets/database_passfile, in libpq's format, for who has the database; worker_passfile and viewer_passfile for two
# roles with fewer rights; and secrets/dashboard_token, which the dashboard asks for. Never overwrites.
#
# usage: deploy/make_secrets.sh [DIR]     DIR: else secrets/ beside docker-compose.yml
set -eu

folder=${1:-$(dirname "$0")/../secrets}
if [ -e "$folder" ]; then
    echo "error: $folder is already there, and the database may have been made with its password" >&2
    echo "hint: keep it; for new passwords see docs/deployment.md" >&2
    exit 2
fi
draw() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
password=$(draw) worker=$(draw) viewer=$(draw) token=$(draw)
[ "${#password}${#worker}${#viewer}${#token}" = 64646464 ] || { echo "error: /dev/urandom cannot be read" >&2; exit 3; }

# The containers' users differ from the host's, so the files are open; the folder is closed to all but its owner.
umask 077
mkdir "$folder"
printf '%s\n' "$password" >"$folder/database_password"
printf 'database:5432:anomalyvfm_opt:anomalyvfm_opt:%s\n' "$password" >"$folder/database_passfile"
printf 'database:5432:anomalyvfm_opt:anomalyvfm_opt_worker:%s\n' "$worker" >"$folder/worker_passfile"
printf 'database:5432:anomalyvfm_opt:anomalyvfm_opt_viewer:%s\n' "$viewer" >"$folder/viewer_passfile"
printf '%s\n' "$token" >"$folder/dashboard_token"
chmod 0444 "$folder"/*
echo "made in $folder: database_password, database_passfile, worker_passfile, viewer_passfile, dashboard_token" >&2
