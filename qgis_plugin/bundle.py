"""`make plugin`: the zip that QGIS installs. Not part of it; runs in the core's Python."""

import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
# Unlike the library's name, so that neither hides the other.
FOLDER = "geossda_processing"


def contents():
    """Give what is in the plugin's folder, by name: its files, the licence, the description."""
    names = sorted(path.name for path in HERE.iterdir() if path.suffix in (".py", ".svg", ".txt"))
    held = {name: (HERE / name).read_bytes() for name in names if name != Path(__file__).name}
    held["LICENSE"] = (HERE.parent / "LICENSE").read_bytes()
    # What the dialogs show before a core is set up.
    asked = [sys.executable, "-m", "geossda_cli", "describe"]
    held["description.json"] = subprocess.run(asked, check=True, stdout=subprocess.PIPE).stdout
    return held


def bundle(target):
    """Write the zip; the same contents give the same bytes."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents().items():
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}", (2020, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return target


if __name__ == "__main__":
    print(bundle(sys.argv[1]))
