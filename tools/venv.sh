#!/bin/sh
# venv.sh: the real clients (AWS CLI, boto3) and pytest in .venv, from PyPI. Made once; again when
# tests/requirements.txt changes.
set -eu
stamp=.venv/requirements.txt
if cmp -s tests/requirements.txt "$stamp"; then
    exit 0
fi
echo "setup: AWS CLI, boto3 and pytest into .venv"
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
cp tests/requirements.txt "$stamp"
