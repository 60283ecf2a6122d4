"""Print the size of what pip is about to install, as JSON; the core's Python runs this file.

``python sizes.py REPORT`` reads a report of ``pip install --dry-run --report REPORT``. Of each
wheel only the list of contents is fetched, by range requests, as zip readers make them.
"""

import io
import json
import sys
import urllib.parse
import urllib.request
import zipfile

# Bytes fetched from the end of a wheel: the list of contents of all but the largest.
TAIL = 256 * 1024
SECONDS = 20


class Remote(io.RawIOBase):
    """Read parts of a file that a server holds.

    Parameters
    ----------
    url : str

    Raises
    ------
    OSError
        The server cannot be reached or does not serve parts.
    """

    def __init__(self, url):
        self._url, self._position = url, 0
        self._tail, self.length = self._fetch(f"-{TAIL}")

    def _fetch(self, part):
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={part}"})
        with urllib.request.urlopen(request, timeout=SECONDS) as response:  # nosec B310
            if response.status != 206:
                raise OSError("no part of the file is served")
            return response.read(), int(response.headers["Content-Range"].rpartition("/")[2])

    def seekable(self):
        """Return that any place can be read from."""
        return True

    def tell(self):
        """Return the position in bytes."""
        return self._position

    def seek(self, offset, whence=0):
        """Move to a position and return it."""
        self._position = offset + (0, self._position, self.length)[whence]
        return self._position

    def read(self, size=-1):
        """Return bytes from the position on."""
        end = self.length if size < 0 else min(self.length, self._position + size)
        start, begin = self._position, self.length - len(self._tail)
        if start >= end:
            return b""
        self._position = end
        if start >= begin:
            return self._tail[start - begin : end - begin]
        return self._fetch(f"{start}-{end - 1}")[0]


def measure(url):
    """Return the bytes of a wheel as it is downloaded, and as it lies on the disk.

    Python files count twice: pip compiles them.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        source = open(urllib.request.url2pathname(parts.path), "rb")
        length = source.seek(0, io.SEEK_END)
    else:
        source = Remote(url)
        length = source.length
    with source, zipfile.ZipFile(source) as wheel:
        members = wheel.infolist()
    return length, sum(m.file_size * (2 if m.filename.endswith(".py") else 1) for m in members)


def main(report):
    """Measure every package of a report."""
    download = disk = 0
    unknown = []
    with open(report, encoding="utf-8") as file:
        entries = json.load(file)["install"]
    for entry in entries:
        url = entry["download_info"]["url"]
        if not url.startswith(("https://", "http://", "file://")) or not url.endswith(".whl"):
            # A folder of source or an archive of it: its wheel has yet to be built.
            continue
        try:
            packed, unpacked = measure(url)
        except (OSError, ValueError, zipfile.BadZipFile):
            unknown.append(entry["metadata"]["name"])
            continue
        download, disk = download + packed, disk + unpacked
    figures = {"packages": len(entries), "download": download, "disk": disk, "unknown": unknown}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
