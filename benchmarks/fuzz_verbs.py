"""The command lines that `fuzz.py` tries files with."""
# ruff: noqa: E501

from pathlib import Path
from typing import NamedTuple

RASTER_VERBS = {
    "info": "info CASE",
    "info-json": "info CASE --json",
    "harmonize": "harmonize CASE --style style.json --method histogram -o o.tif",
    "harmonize-ssda": "harmonize CASE --style style.json --style-model style.safetensors --method ssda -o o.tif RUN",
    "harmonize-alone": "harmonize CASE --method equalize -o o.tif",
    "harmonize-two": "harmonize CASE scene.tif --style style.json --method reinhard -o o.tif",
    "style-of": "harmonize scene.tif --style CASE --method linear -o o.tif",
    "segment": "segment CASE --model model.safetensors -o o.gpkg --mask m.tif --probabilities p.tif RUN",
    "style": "style CASE --style-model style.safetensors -o o.json RUN",
    "scenes": "scenes CASE -o o.gpkg",
    "report": "report CASE --source scene.tif -o o.html --qa q.tif",
    "report-source": "report harmonized.tif --source CASE -o o.html",
    "align": "align true.gpkg CASE --model model.safetensors -o o.gpkg RUN",
    "polygonize": "polygonize CASE --regularize rectilinear --split --bidx 1 -o o.gpkg",
    "evaluate": "evaluate CASE true.gpkg",
    "evaluate-area": "evaluate true.gpkg true.gpkg --area CASE",
    "train-segmenter": "train-segmenter CASE -f true.gpkg -o o.safetensors TRAIN",
    "train-target": "train-segmenter scene.tif -f true.gpkg -t CASE -o o.safetensors TRAIN",
    "train-style": "train-style CASE -o o.safetensors --steps 1 --batch 4 --patch 32 "
    "--perceptual 0",
    "matrix": "matrix CASE scene.tif --method histogram --patch 64 -o o.png",
    "evaluate-style": "evaluate-style CASE scene.tif --patch 64 --patches 1 "
    "--style-model style.safetensors RUN",
}  # fmt: skip
VECTOR_VERBS = {
    "info": "info CASE",
    "info-json": "info CASE --json",
    "evaluate-found": "evaluate CASE true.gpkg --errors e.gpkg",
    "evaluate-true": "evaluate mask.tif CASE",
    "evaluate-area": "evaluate true.gpkg true.gpkg --area CASE --json",
    "align": "align CASE scene.tif --model model.safetensors -o o.gpkg RUN",
    "harmonize-area": "harmonize scene.tif --style style.json --area CASE -o o.tif",
    "harmonize-scenes": "harmonize scene.tif --style style.json --scenes CASE -o o.tif",
    "segment-area": "segment scene.tif --model model.safetensors --area CASE -o o.gpkg RUN",
    "style-area": "style scene.tif --area CASE --style-model none -o o.json",
    "scenes-area": "scenes scene.tif --area CASE -o o.gpkg",
    "report-scenes": "report harmonized.tif --source scene.tif --scenes CASE -o o.html",
    "train-segmenter": "train-segmenter scene.tif -f CASE -o o.safetensors TRAIN",
    "train-area": "train-segmenter scene.tif -f true.gpkg --area CASE -o o.safetensors TRAIN",
    "append": "polygonize mask.tif -o CASE --append",
    "replace": "polygonize mask.tif -o CASE --overwrite",
}
STYLE_VERBS = {
    "info": "info CASE",
    "harmonize": "harmonize scene.tif --style CASE --method histogram -o o.tif",
    "harmonize-ssda": "harmonize scene.tif --style CASE --style-model style.safetensors "
    "--method ssda -o o.tif",
    "harmonize-mixture": "harmonize scene.tif --style CASE --method mixture -o o.tif",
    "harmonize-graph": "harmonize scene.tif --style CASE --method graph -o o.tif",
    "harmonize-linear": "harmonize scene.tif --style CASE --method linear -o o.tif",
    "style": "style CASE scene.tif --style-model none -o o.json",
}
MODEL_VERBS = {
    "info": "info CASE",
    "segment": "segment scene.tif --model CASE -o o.gpkg --probabilities p.tif",
    "train-init": "train-segmenter scene.tif -f true.gpkg --init-from CASE -o o.safetensors "
    "--steps 1 --batch 2 --patch 32",
    "train-encoder": "train-segmenter scene.tif -f true.gpkg --encoder tu-mobilenetv3_small_050 "
    "--encoder-weights CASE -o o.safetensors --steps 1 --batch 2 --patch 32",
}
STYLE_MODEL_VERBS = {
    "info": "info CASE",
    "harmonize": "harmonize scene.tif --style reference.tif --style-model CASE --method ssda -o o.tif",
    "style": "style scene.tif --style-model CASE -o o.json",
    "matrix": "matrix scene.tif reference.tif --style-model CASE --patch 64 -o o.png",
    "evaluate-style": "evaluate-style scene.tif reference.tif --style-model CASE --patch 64 --patches 1",
    "train-adapt": "train-segmenter scene.tif -f true.gpkg -t reference.tif --adapt ssda --style-model "
    "CASE -o o.safetensors TRAIN",
}
# OpenVINO compiles longer than it runs such small windows, so one case in four is run by it.
RUNTIMES = ("auto", "torch", "torch", "torch")
TRAIN = ("--steps 1 --batch 2 --patch 32 --encoder tu-mobilenetv3_small_050 "
         "--encoder-weights none").split()  # fmt: skip
FAMILIES = ("raster", "vector", "model")
MODELS = (("model.safetensors", MODEL_VERBS), ("style.json", STYLE_VERBS),
          ("style.safetensors", STYLE_MODEL_VERBS))  # fmt: skip


class Case(NamedTuple):
    """One mutated file for one verb: ``family:number:verb`` on the command line."""

    family: str
    number: int
    verb: str

    @property
    def words(self) -> list[str]:
        """The command line, with CASE for the file and names of sound files."""
        return verbs_of(self.family, self.number)[self.verb].split()


def verbs_of(family: str, number: int) -> dict[str, str]:
    """Return the verbs that read a file of a family, and their command lines."""
    if family == "model":
        return MODELS[number % len(MODELS)][1]
    verbs = RASTER_VERBS if family == "raster" else VECTOR_VERBS
    how = f"--runtime {RUNTIMES[number % len(RUNTIMES)]}"
    return {name: line.replace("RUN", how) for name, line in verbs.items()}


def filled(words: list[str], path: Path, sound: Path) -> list[str]:
    """Return a command line with the case's path and those of sound files."""
    words = [part for word in words for part in (TRAIN if word == "TRAIN" else [word])]
    names = {entry.name for entry in sound.iterdir()}
    return [
        str(path) if word == "CASE" else str(sound / word) if word in names else word
        for word in words
    ]
