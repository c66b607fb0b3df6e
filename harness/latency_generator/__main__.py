"""`python -m harness.latency_generator`"""

from __future__ import annotations

import sys

from harness.latency_generator.main import main

if __name__ == "__main__":
    sys.exit(main())
