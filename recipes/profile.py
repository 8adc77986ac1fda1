"""Have a language model write a profile of every item and user; see ``recipes/profiles.py``, where the work is done.

python recipes/profile.py ml-100k --model Qwen/Qwen3-0.6B --out runs/profiles
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    from arguments import run
    from profiles import main

    run(main)
else:
    # The folder of a running recipe is the first on the path, and the standard library has a module of this name, which
    # cProfile (and so torch) asks for: whoever imports "profile" gets that one.
    spec = importlib.util.spec_from_file_location(__name__, Path(sysconfig.get_path("stdlib")) / "profile.py")
    assert spec is not None and spec.loader is not None
    sys.modules[__name__] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
