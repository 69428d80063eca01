#!/bin/sh
# Makes what `docker compose up` needs beside the repository, once: passwords in deploy/secrets/ and
# cameras.yaml. What is already there stays. `make up` runs this; it needs nothing but a POSIX shell.
# Usage: deploy/prepare.sh [FOLDER]   (FOLDER in place of this repository: for tests)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$(dirname "$here")}
secrets="$root/deploy/secrets"

mkdir -p "$secrets"
# Containers read these files as users of their own, so the files are readable and the folder is shut.
chmod 700 "$secrets"
umask 022

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
put() { [ -s "$secrets/$1" ] || { cat >"$secrets/$1.new" && mv "$secrets/$1.new" "$secrets/$1"; }; }

# The three files of the broker's passwords belong together: all anew when one is missing.
if ! [ -s "$secrets/redis-users.acl" ] || ! [ -s "$secrets/facestream.yaml" ] ||
	! [ -s "$secrets/redis-exporter.json" ]; then
	rm -f "$secrets/redis-users.acl" "$secrets/facestream.yaml" "$secrets/redis-exporter.json"
	services=$(random)
	metrics=$(random)
	put redis-users.acl <<-EOT
		user default off
		user facestream on >$services ~facestream:* +@all -@admin -@dangerous +info
		user metrics on >$metrics ~* +@connection +info +config|get +slowlog|get +slowlog|len +latency|latest +latency|histogram +memory|usage
		user health on nopass +ping
	EOT
	put facestream.yaml <<-EOT
		broker: redis://facestream:$services@redis:6379/0
	EOT
	put redis-exporter.json <<-EOT
		{"redis://metrics@redis:6379": "$metrics", "redis://redis:6379": "$metrics"}
	EOT
fi
random | put grafana-password

[ -e "$root/cameras.yaml" ] || cp "$here/../cameras.example.yaml" "$root/cameras.yaml"
