#!/usr/bin/env bash
# pyradiomics' build imports numpy, which build isolation would hide from it.
set -euo pipefail
python -m pip install --no-build-isolation --no-deps pyradiomics==3.0.1
