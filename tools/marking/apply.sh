#!/bin/bash
# Mark every text of the tree it is run in (from its root). Run again, it changes nothing more.
set -e
PY=${PY:-.venv/bin/python}
$PY tools/marking/by_hand.py
$PY tools/marking/mark_python.py accounts loans risk
[ -f tools/marking/mark_templates.py ] && $PY tools/marking/mark_templates.py templates
$PY -m ruff check -q --select I --fix accounts loans risk
$PY -m ruff format -q accounts loans risk
