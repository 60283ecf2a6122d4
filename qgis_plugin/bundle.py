"""`make plugin`: the zip that QGIS installs. Not part of it.

The core's description needs nothing but click, so any Python that has it will do.
"""

import importlib.util
import json
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
# Unlike the library's name, so that neither hides the other.
FOLDER = "geossda_processing"


def description():
    """Return what the core of this checkout offers, as `geossda describe` prints it."""
    sys.path.insert(0, str(HERE.parent))
    package = HERE.parent / "cli" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "geossda_cli", package, submodule_search_locations=[str(package.parent)]
    )
    sys.modules["geossda_cli"] = importlib.util.module_from_spec(spec)
    from geossda_cli.describe import describe_all

    return json.dumps(describe_all(), indent=1, ensure_ascii=False)


def contents():
    """Return what is in the plugin's folder, by name: its files, the license, the description."""
    names = sorted(path.name for path in HERE.iterdir() if path.suffix in (".py", ".svg", ".txt"))
    held = {name: (HERE / name).read_bytes() for name in names if name != Path(__file__).name}
    held["LICENSE"] = (HERE.parent / "LICENSE").read_bytes()
    # What the dialogs show before a core is set up.
    held["description.json"] = description().encode()
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
