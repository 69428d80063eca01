#!/usr/bin/env bash
# Lock every requirements/*.in into a *.txt with hashes: one set of versions for all, no index named.
# Needs uv. `requirements/lock.sh --upgrade` takes newer versions.
# openvino requires openvino-telemetry, which sends events to Google Analytics: it is left out.
set -euo pipefail
cd "$(dirname "$0")"
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate --fork-strategy fewest \
        --no-emit-package openvino-telemetry "$@"
}
compile test.in --output-file test.txt "$@"
for name in capture worker annotator database model-server predict launcher demo training; do
    compile "$name.in" --constraints test.txt --output-file "$name.txt"
done
