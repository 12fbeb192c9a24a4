#!/usr/bin/env bash
# Known vulnerabilities of what constraints.txt pins: ./audit.sh [--required]
#
# pip-audit asks the package index; nothing is sent but names and versions. Where it gets no answer
# (no network, an index without advisories, no pip-audit) this says so and passes, unless
# --required, as in a job of continuous integration. Exits with 1 if a vulnerability is known.
set -uo pipefail
cd "$(dirname "$0")"
tool=${PIP_AUDIT:-.venv/bin/pip-audit}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

not_run() {
  echo "DEPENDENCY AUDIT NOT RUN: $1" >&2
  [ "$required" = --required ] && exit 1
  exit 0
}

required=${1:-}
[ -x "$tool" ] || not_run "$tool is not installed: pip install 'lm-research[check]'"
said=$(timeout 300 "$tool" -r constraints.txt --no-deps --disable-pip --progress-spinner off \
  --timeout 15 --format json --output "$answer" 2>&1)
status=$?
[ "$status" -le 1 ] && [ -s "$answer" ] || not_run "${said##*$'\n'}"
python3 - "$answer" <<'PY'
import json
import sys

packages = json.load(open(sys.argv[1]))["dependencies"]
asked = [package for package in packages if "vulns" in package]
for package in asked:
    for found in package["vulns"]:
        fixed = ", ".join(found["fix_versions"]) or "nothing yet"
        print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
unknown = f", {len(packages) - len(asked)} unknown to the index" if len(asked) < len(packages) else ""
print(f"dependency audit: {len(asked)} packages audited{unknown}")
sys.exit(3 if not asked else any(package["vulns"] for package in asked))
PY
status=$?
[ "$status" -ne 3 ] || not_run "the index knows none of the packages"
exit "$status"
