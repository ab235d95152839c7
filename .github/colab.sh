#!/usr/bin/env bash
# Inside Colab's image: every notebook in the image's own Python. What drives them gets an environment apart, so that
# nothing is installed into the image but what the notebooks' setup cells ask for.
set -euo pipefail
cd "$(dirname "$0")/.."
git config --global --add safe.directory "$PWD"
python3 -m pip install --quiet virtualenv
python3 -m virtualenv --quiet /tmp/driver
/tmp/driver/bin/pip install --quiet pytest papermill ipykernel nbformat
LOGITNORM_COLAB_TEST=1 LOGITNORM_COLAB_PYTHON="$(command -v python3)" \
  /tmp/driver/bin/python -m pytest --noconftest tests/test_colab.py
