"""Models and style files as they should not be, for `fuzz.py`."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from fuzz_rasters import scatter
from fuzz_vectors import alter
from numpy.random import Generator

HEADER = struct.Struct("<Q")


def bytes_anywhere(path: Path, rng: Generator) -> None:
    """Change bytes anywhere."""
    scatter(path, rng)


def bytes_of_header(path: Path, rng: Generator) -> None:
    """Change bytes at the start."""
    scatter(path, rng, 0, 600)


def truncation(path: Path, rng: Generator) -> None:
    """Cut the end off, or append to it."""
    data = path.read_bytes()
    cut = int(rng.integers(len(data)))
    path.write_bytes([data[:cut], data[: cut % 100], data + data[:cut]][rng.integers(3)])


def length(path: Path, rng: Generator) -> None:
    """Declare another length of the header."""
    data = path.read_bytes()
    size = int(rng.choice([0, 1, 7, len(data), 2**31, 2**62]))
    path.write_bytes(HEADER.pack(size) + data[8:])


def numbers(path: Path, rng: Generator) -> None:
    """Hold weights that are no numbers, with a card whose hash is theirs; or other JSON numbers."""
    if path.suffix == ".json":
        entries(path, rng)
        return
    import torch
    from safetensors.torch import save_file

    from geossda.models.card import SegmenterCard, StyleCard
    from geossda.models.model_file import load, read_card, save

    kind = SegmenterCard if isinstance(read_card(path), SegmenterCard) else StyleCard
    tensors, card = load(path, kind)
    names = sorted(tensors)
    for chosen in rng.choice(names, int(rng.integers(1, 4))):
        tensor = tensors[str(chosen)]
        case = rng.integers(6)
        if case == 0 and tensor.is_floating_point():
            tensor.view(-1)[0] = float(rng.choice([float("nan"), float("inf"), 6e4]))
        elif case == 1:
            del tensors[str(chosen)]
            break
        elif case == 2:
            tensors[str(chosen)] = tensor.new_zeros(tuple(rng.integers(0, 4, 2).tolist()))
        elif case == 3:
            tensors[str(chosen)] = tensor.to(torch.int32)
        elif case == 4:
            tensors[str(chosen)] = torch.zeros_like(tensor)
        else:
            tensors[f"{chosen}.more"] = tensor.clone()
    if rng.random() < 0.5:
        save(path, tensors, card)
    else:
        save_file(tensors, path)


def entries(path: Path, rng: Generator) -> None:
    """Alter entries of the style, of the card, or of the header of the weights."""
    if path.suffix == ".json":
        style = json.loads(path.read_text())
        for _ in range(int(rng.integers(1, 3))):
            style = alter(style, rng)
        path.write_text(json.dumps(style))
        return
    data = path.read_bytes()
    size = HEADER.unpack(data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    if rng.random() < 0.7:
        card = alter(json.loads(header["__metadata__"]["geossda"]), rng)
        header["__metadata__"]["geossda"] = json.dumps(card)
    else:
        header = alter(header, rng)
    text = json.dumps(header).encode()
    path.write_bytes(HEADER.pack(len(text)) + text + data[8 + size :])


def foreign(path: Path, rng: Generator) -> None:
    """Be something else."""
    others = [b"", b"{", b"[]", b"null", b"NaN", b"PK\3\4", b"\x80\4.", b"\xff\xfe{\0}\0",
              b"[" * 100_000, b'{"format": "geossda-style"}', rng.bytes(3000)]  # fmt: skip
    path.write_bytes(others[rng.integers(len(others))])
    if rng.random() < 0.1:
        path.unlink()
        path.mkdir()


def name(path: Path, rng: Generator) -> Path:
    """Rename the file so that parsers and messages may trip over it."""
    stems = ["a b", "-m", "%41%s{}", "a\nb", "[x]", "a?b#c=d", "ä☃😀", "'\"; drop", "x" * 200,
             "\x1b[31m", b"\xff\xfe".decode("utf-8", "surrogateescape")]  # fmt: skip
    other = path.with_name(stems[rng.integers(len(stems))] + path.suffix)
    shutil.move(path, other)
    if rng.random() < 0.5:
        scatter(other, rng)
    return other


MUTATIONS: tuple[Callable[[Path, Generator], Path | None], ...] = (
    bytes_anywhere, bytes_of_header, truncation, length, numbers, numbers, entries, entries,
    entries, foreign, name,
)  # fmt: skip


def make(folder: Path, rng: Generator, number: int, base: Path) -> tuple[str, Path]:
    """Make case `number` of a sound file in an empty folder: kind of the mutation, and the file."""
    mutation = MUTATIONS[number % len(MUTATIONS)]
    path = folder / f"case{base.suffix}"
    shutil.copyfile(base, path)
    return mutation.__name__, mutation(path, rng) or path
