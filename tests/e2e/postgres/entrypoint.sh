#!/bin/sh
# Like the entrypoint of the image of Docker Hub: makes the database in PGDATA once, with POSTGRES_PASSWORD, then
# becomes the program that is named.
set -eu
bin=$(dirname "$(readlink -f /bin/postgres)")
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s\n' "$POSTGRES_PASSWORD" > /tmp/password
  "$bin/initdb" -D "$PGDATA" --username=postgres --pwfile=/tmp/password --encoding=UTF8 --locale=C \
    --auth-local=trust --auth-host=scram-sha-256
  rm /tmp/password
fi
exec "$bin/$1" -c listen_addresses='*'
