"""The command ``stress-lab``: a verb, or without one training.

stress-lab compare sweep=FOLDER     compare runs, or files of predictions
stress-lab evaluate run=FOLDER      write a run's records again
stress-lab stress run=FOLDER        predict under corruptions and occlusion
stress-lab audit net=… weights=…    record a net that is trained already
stress-lab experiment=demo -m       train
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys

from stress_lab.preflight.messages import USAGE_ERROR

VERBS = ("train", "compare", "evaluate", "audit", "stress")  # each a module beside this one, with a main()


def main() -> None:
    """Do what the first word says; every other word is read by that command."""
    verb = "train"
    if len(sys.argv) > 1 and re.fullmatch(r"[A-Za-z][\w-]*", sys.argv[1]):  # neither option nor KEY=VALUE
        verb = sys.argv.pop(1)
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean stress-lab {near[0]}?" if near else f"use one of {', '.join(VERBS)}, or KEY=VALUE"
        print(f"error: there is no command {verb}: {hint}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    importlib.import_module(f"stress_lab.cli.{verb}").main()
