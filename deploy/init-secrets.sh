#!/bin/sh
# Create the files that `docker compose up` needs: passwords and the admin token in deploy/secrets/, and
# cameras.yaml. Existing files are kept. `make up` runs this script; it needs only a POSIX shell.
# Usage: deploy/init-secrets.sh [FOLDER]   (FOLDER instead of this repository: for tests)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$(dirname "$here")}
secrets="$root/deploy/secrets"

mkdir -p "$secrets"
# Containers read the files as other users, so files are world-readable and the folder is mode 0700.
chmod 700 "$secrets"
umask 022

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
put() { [ -s "$secrets/$1" ] || { cat >"$secrets/$1.new" && mv "$secrets/$1.new" "$secrets/$1"; }; }

# The broker password files belong together: create all of them when one is missing, or when an earlier
# version wrote users without a permission of this version (the newest are checked).
broker_files="redis-users.acl capture.yaml worker.yaml annotator.yaml redis-exporter.json"
complete=yes
for name in $broker_files; do [ -s "$secrets/$name" ] || complete=no; done
for permission in '^user capture .* ~facestream:phone-frames:' '^user health .*+script|kill'; do
	grep -q "$permission" "$secrets/redis-users.acl" 2>/dev/null || complete=no
done
if [ $complete = no ]; then
	[ ! -s "$secrets/redis-users.acl" ] ||
		echo "created new broker passwords; if facestream is running: docker compose restart" >&2
	for name in $broker_files; do rm -f "$secrets/$name"; done
	capture=$(random)
	worker=$(random)
	annotator=$(random)
	metrics=$(random)
	# Each service gets its own keys and commands only. `%R~` is read-only.
	own="resetchannels -@all +@connection -@admin -@dangerous"
	put redis-users.acl <<-EOT
		user default off
		user capture on >$capture $own ~facestream:cameras ~{facestream:cameras}:* ~facestream:status:* %R~facestream:watched:* ~facestream:frames:* ~facestream:faces:* ~facestream:phone-frames:* ~facestream:{capture}:* +get +set +del +exists +pexpire +blpop +lpop +hget +hgetall +hset +hsetnx +hdel +hincrby +xadd +xtrim +xlen +eval +time
		user worker on >$worker $own ~facestream:faces:* ~facestream:results:* ~facestream:dead-letters +multi +exec +discard +eval +expire +hgetall +hincrby +xadd +xdel +xlen +xrange +xrevrange +xreadgroup +xack +xclaim +xautoclaim +xpending +xgroup|create +xgroup|delconsumer +xinfo|consumers
		user annotator on >$annotator $own ~facestream:cameras %R~{facestream:cameras}:epoch ~facestream:status:* ~facestream:watched:* ~facestream:frames:* ~facestream:results:* ~facestream:phone-frames:* +multi +exec +discard +get +set +del +pexpire +rpush +ltrim +hgetall +hset +hdel +xread +xrevrange +xinfo|stream
		user metrics on >$metrics $own ~* +info +config|get +slowlog|get +slowlog|len +latency|latest +latency|histogram +memory|usage
		user health on nopass +ping +script|kill
	EOT
	for name in capture worker annotator; do
		eval "password=\$$name"
		# shellcheck disable=SC2154  # set by eval
		put "$name.yaml" <<-EOT
			broker: redis://$name:$password@redis:6379/0
		EOT
	done
	put redis-exporter.json <<-EOT
		{"redis://metrics@redis:6379": "$metrics", "redis://redis:6379": "$metrics"}
	EOT
fi
random | put grafana-password
random | put admin-token

[ -e "$root/cameras.yaml" ] || cp "$here/../cameras.example.yaml" "$root/cameras.yaml"
