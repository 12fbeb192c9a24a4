#!/usr/bin/env bash
# Make .venv and install this checkout with the given extras: ./install.sh corpora,zh
#
# PyTorch first, and by itself, because its default Linux build brings gigabytes of CUDA. Without
# an NVIDIA GPU: a CPU build that pip finds on this machine (PIP_FIND_LINKS, a wheel folder), else
# PyTorch's own index of CPU builds, else the default build.
set -euo pipefail
extras=${1:?which extras, such as corpora,zh or dev}
python=${PYTHON:-python3}
cd "$(dirname "$0")"

"$python" - <<'PY'
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f"lm-research needs Python 3.11 or 3.12; {sys.executable} is {sys.version.split()[0]}. "
             "Say PYTHON=/path/to/python3.11")
PY
[ -x .venv/bin/python ] || "$python" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
# Of 23,000 files a few thousand are ever imported; Python compiles those when they are.
export PIP_NO_COMPILE=1

if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  torch=$(grep '^torch==' constraints.txt)
  if command -v nvidia-smi >/dev/null; then
    pip install "$torch" -c constraints.txt
  else
    pip install --no-index --no-deps "$torch" 2>/dev/null ||
      pip --retries 0 --timeout 20 install --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null ||
      pip install "$torch" -c constraints.txt
  fi
fi
pip install -c constraints.txt -e ".[$extras]"
if [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then  # it would compile them for every process
  .venv/bin/python -m compileall -qq -j 0 -x '/tests?/|/pythonbible_' .venv/lib || true
fi
