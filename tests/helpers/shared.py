"""Where tests find what they do not make themselves: what the original programs gave, and real speech.

`$MOCKINGJAY_SHARED` wins where it is set, then `../shared` beside the project. `tests/fixtures` holds one file of each
family and stands in where neither has fixtures; real speech is in neither the project nor there."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MOCKINGJAY_SHARED") or PROJECT.parent / "shared")
CORPORA = SHARED / "corpora"
FIXTURES = next(folder for folder in (SHARED / "fixtures", PROJECT / "tests" / "fixtures") if folder.is_dir())
