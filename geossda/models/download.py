"""Models by address: downloaded once, kept in the user's cache, and checked against their cards."""

import hashlib
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from geossda.errors import ModelError
from geossda.formats import ONNX_SUFFIX, WEIGHTS_SUFFIX, suffix_of
from geossda.staging import atomic_write

HUB, WEB = "hf:", "https://"
_REPOSITORY = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# Seconds to wait for an answer, and the largest file that is taken for a model.
ANSWER_S, MAX_BYTES = 30, 4_000_000_000


def is_address(model: str) -> bool:
    """Return whether a model is named by an address, not by a path."""
    return model.startswith((HUB, WEB))


def cache_folder() -> Path:
    """Return the folder of downloaded models: ``GEOSSDA_CACHE``, or that of the system."""
    if given := os.environ.get("GEOSSDA_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "geossda")


def downloaded(model: str) -> Path:
    """Return the file of a model at an address, which is downloaded if it is not in the cache.

    Parameters
    ----------
    model : str
        ``https://.../NAME.onnx`` (or ``.safetensors``), or ``hf:owner/name[@revision]``: a
        repository of the Hugging Face hub with one model, of which both files are fetched.

    Raises
    ------
    ModelError
        The address is malformed, does not answer, or does not hold a model.
    """
    return _from_hub(model) if model.startswith(HUB) else _from_web(model)


def cached_models() -> list[Path]:
    """Return the downloaded models, in order of name."""
    folder = cache_folder() / "models"
    files = (path for path in folder.glob("*/*") if not path.name.startswith("."))
    return sorted(path for path in files if suffix_of(path) in (ONNX_SUFFIX, WEIGHTS_SUFFIX))


def _from_web(address: str) -> Path:
    parts = urlsplit(address)
    name = Path(unquote(parts.path)).name
    if not parts.hostname or suffix_of(name) not in (ONNX_SUFFIX, WEIGHTS_SUFFIX):
        raise ModelError(
            f"{address}: the address of an {ONNX_SUFFIX} or a {WEIGHTS_SUFFIX} file was expected"
        )
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = cache_folder() / "models" / key / name
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_write(path) as part,
            urllib.request.urlopen(address, timeout=ANSWER_S) as answer,
            part.open("wb") as file,
        ):
            if int(answer.headers.get("Content-Length") or 0) > MAX_BYTES:
                raise ModelError(f"{address} is larger than {MAX_BYTES / 1e9:.0f} GB: no model")
            shutil.copyfileobj(answer, file)
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{address} cannot be downloaded ({reason}): check the address") from error
    return path


def _from_hub(address: str) -> Path:
    match = _REPOSITORY.fullmatch(address)
    if not match:
        raise ModelError(f"{address}: hf:owner/name or hf:owner/name@revision was expected")
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise ModelError(
            f"{address} needs the client of the hub ({error}): pip install huggingface_hub"
        ) from error
    name, revision = match["name"], match["revision"] or "main"
    try:
        listed = HfApi().list_repo_files(name, revision=revision)
        files = [each for each in listed if suffix_of(each) in (ONNX_SUFFIX, WEIGHTS_SUFFIX)]
        stems = sorted({os.path.splitext(each)[0] for each in files})
        if len(stems) != 1:
            raise ModelError(
                f"{address} holds {len(stems)} models, one was expected"
                + (f": {', '.join(stems)[:200]}" if stems else "")
            )
        paths = [hf_hub_download(name, each, revision=revision) for each in sorted(files)]
    except ModelError:
        raise
    except Exception as error:  # whatever the client and its HTTP library raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{address} cannot be downloaded ({reason}): check the name") from error
    return Path(paths[-1])  # the safetensors file, if there is one
