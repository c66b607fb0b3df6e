"""`python -m harness.vei`"""

from __future__ import annotations

import sys

from harness.vei.main import main, prepare

__all__ = ["main", "prepare"]

if __name__ == "__main__":
    sys.exit(main())
