"""Put the folder of results on the path, so that its tests import the modules that `python results/rebuild.py` runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "results"))
