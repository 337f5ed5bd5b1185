"""``python -m vidcausal``: the same as the command ``vidcausal``."""

from __future__ import annotations

import sys

from vidcausal.cli import main

sys.exit(main())
