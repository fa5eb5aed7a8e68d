#!/usr/bin/env bash
# What a user would write without us: build, test, push, replace the container, wait until it answers.
set -euo pipefail
repository=$1 image=$2 port=$3 docker=$4
cd "$repository"
"$docker" build --quiet --target test -t "$image-tests" . >/dev/null
"$docker" run --rm "$image-tests" >/dev/null
"$docker" build --quiet --target serving -t "$image" . >/dev/null
"$docker" push --quiet "$image" >/dev/null
"$docker" rm --force "bench-script-$port" >/dev/null 2>&1 || true
"$docker" run --detach --name "bench-script-$port" --publish "127.0.0.1:$port:8000" "$image" >/dev/null
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/healthz"; do sleep 0.05; done
curl --silent --fail --output /dev/null -H 'Content-Type: application/json' "http://127.0.0.1:$port/predict" \
  -d '{"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}'
