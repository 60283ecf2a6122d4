"""Whether what a verb makes depends on how the work is cut and by how many it is done.

    python benchmarks/cuts.py --output out.tif -- harmonize MOSAIC --style STYLE
    python benchmarks/cuts.py --output out.gpkg -- segment MOSAIC

Every cut is compared with the first. Windows of `segment` are its model's, so there is no tile to
choose; the batch is.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from kills import differences, run

CUTS = {
    "harmonize": ("--tile 1024", "--tile 512", "--tile 256", "--tile 1024 --workers 2"),
    "segment": ("--batch 2", "--batch 1", "--batch 4", "--batch 2 --workers 2"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="out.tif", help="name of the output: .tif or .gpkg")
    end = sys.argv.index("--")
    given, arguments = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        first = Path(folder) / f"first_{given.output}"
        for cut in CUTS[arguments[0]]:
            output = Path(folder) / given.output if first.exists() else first
            run([*arguments, *cut.split()], output)
            if output == first:
                continue
            count, largest = differences(first, output)
            output.unlink()
            print(f"{cut}: {count} differ, by {largest:g} at most", flush=True)


if __name__ == "__main__":
    main()
