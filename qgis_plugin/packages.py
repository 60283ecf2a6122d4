"""What pip is asked for: PyTorch of one kind, all of its parts from one index. No QGIS in here."""

import json
import re
from pathlib import Path

# (kind of computer, platform) to the index of PyTorch and the label its versions end in, where
# PyPI's own PyTorch is not the one wanted.
INDEXES = {
    ("cpu", "linux"): ("https://download.pytorch.org/whl/cpu", "cpu"),
    ("cuda", "win32"): ("https://download.pytorch.org/whl/cu128", "cu128"),
}
# These share compiled operators: one built for another kind of PyTorch loads, and fails when used.
TORCH = ("torch", "torchvision")
# Modules are compiled when they are imported first, which most of them never are.
PIP = (
    "pip", "install", "--upgrade", "--no-compile", "--progress-bar", "off", "--retries", "2",
)  # fmt: skip
# What pip prints when no index answers, before it says that a package does not exist.
UNREACHABLE = re.compile(
    "Failed to establish a new connection|Name or service not known|getaddrinfo failed|ProxyError|"
    "Temporary failure in name resolution|nodename nor servname|ConnectTimeout|Connection refused|"
    "Network is unreachable|No route to host|connection broken|Read timed out|SSLError"
)


def request(kind, platform, source, options=(), wheels=""):
    """Return what to install, before versions are chosen.

    Parameters
    ----------
    kind : {"light", "cpu", "cuda"}
        Without PyTorch, or with it and what trains models, for a processor or an NVIDIA card.
    platform : str
        As ``sys.platform``.
    source : str
        The core: a requirement, a wheel or a folder of source.
    options : sequence of str
        More of pip's options.
    wheels : str
        Folder of wheels to install from instead of any index.

    Returns
    -------
    dict
        "index" and "label" of PyTorch ("" for PyPI's; None: any, or none), "options" and
        "packages".
    """
    if kind != "light" and not source.endswith("]"):
        source += "[train]"
    if wheels:
        options = ["--no-index", "--find-links", wheels, *options]
    if wheels or kind == "light":
        return {"index": "", "label": None, "options": [*options], "packages": [source]}
    index, label = INDEXES.get((kind, platform), ("", ""))
    packages = [*TORCH, source]
    return {"index": index, "label": label, "options": [*options], "packages": packages}


def choose_torch(request, report):
    """Return pip's arguments that choose versions of PyTorch's parts from their index alone.

    Parameters
    ----------
    request : dict
        ``index``, ``options`` and ``label`` of the kind of PyTorch.
    report : path
        File that pip writes its choice to, as JSON.
    """
    return [*PIP, "--dry-run", "--ignore-installed", "--report", str(report),
            "--index-url", request["index"], *request["options"], *TORCH]  # fmt: skip


def pins(request, report):
    """Return constraints that hold PyTorch's parts to the versions that were chosen.

    Parameters
    ----------
    request : dict
        ``index`` and ``label`` of the kind of PyTorch.
    report : path
        pip's report of :func:`choose_torch`.

    Raises
    ------
    ValueError
        What was chosen is of another kind than the one asked for.
    """
    entries = json.loads(Path(report).read_text(encoding="utf-8"))["install"]
    versions = {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in entries}
    for name in TORCH:
        if label_of(versions[name]) != request["label"]:
            raise ValueError(
                f"{request['index']} was asked for {name} of kind {request['label']}, and pip has "
                f"chosen {name} {versions[name]}: remove other indexes from pip's configuration"
            )
    return [f"{name}=={versions[name]}" for name in TORCH]


def label_of(version):
    """Return the kind that a version of PyTorch is labelled with: cpu in 2.9.1+cpu, else ""."""
    return version.partition("+")[2]


def install(request, constraints="", report=""):
    """Return pip's arguments that install all packages in one go.

    Parameters
    ----------
    request : dict
    constraints : path, optional
        File with the pins of PyTorch's parts.
    report : path, optional
        Only write down there what would be installed.
    """
    more = ["--dry-run", "--report", str(report)] if report else []
    if constraints:
        more += ["--constraint", str(constraints), "--extra-index-url", request["index"]]
    return [*PIP, *more, *request["options"], *request["packages"]]


def reason(lines, message):
    """Return why pip failed: the network where no index answered, else pip's own message.

    Parameters
    ----------
    lines : sequence of str
        What pip has printed.
    message : str
        Its last word.
    """
    if any(UNREACHABLE.search(line) for line in lines):
        return (
            "the package index cannot be reached: check the network or the proxy, or choose a "
            "folder of wheels"
        )
    return message


def describe_sizes(figures, free):
    """Return the figures of ``sizes.py`` in words.

    Parameters
    ----------
    figures : dict
    free : int
        Bytes free on the disk.
    """
    text = "{} packages: {} to download, {} on disk; {} free there".format(
        figures["packages"], gigabytes(figures["download"]), gigabytes(figures["disk"]),
        gigabytes(free),
    )  # fmt: skip
    if figures["unknown"]:
        text += ", not counting {}, of unknown size".format(", ".join(figures["unknown"]))
    return text


def gigabytes(size):
    """Return bytes in words."""
    return f"{size / 1e9:.1f} GB"
