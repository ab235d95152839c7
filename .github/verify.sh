#!/usr/bin/env bash
# verify.sh OFFERED ANSWER: verify every run folder below OFFERED that is not in data/runs as it stands there, and leave
# report.md and the pull request's number ($NUMBER) in the folder ANSWER. Fails where a run is not what it says.
set -euo pipefail
mkdir -p "$2"
printf '%s\n' "${NUMBER:-}" > "$2/number.txt"
runs=()
for run in "$1"/*/; do
  run=${run%/}
  diff -rq "$run" "data/runs/$(basename "$run")" > /dev/null 2>&1 || runs+=("$run")
done
if [ ${#runs[@]} -eq 0 ]; then
  echo "No run folder was added or changed." > "$2/report.md"
else
  status=0
  "${PYTHON:-.venv/bin/python}" -m logitnorm verify --download --report "${runs[@]}" > "$2/report.md" || status=$?
fi
cat "$2/report.md" >> "${GITHUB_STEP_SUMMARY:-/dev/stdout}"
exit "${status:-0}"
