"""The commands of `Training` as dialogs: which kind of thing each input and output is."""

from geossda import config

from .dialog_ports import SEARCH_BUILDINGS, Port, Verb

GROUP = "Training"
RUN = (
    Port(
        "RUN",
        "folder_out",
        "Run folder",
        "Checkpoints and log; training goes on from the last checkpoint in it.",
        optional=True,
        advanced=True,
    ),
)
# Of a model that is trained: nothing a first run needs.
CARD = ("name", "data", "licence", "attribution")
VERBS = {
    "train-style": Verb(
        "Train a style model",
        GROUP,
        config.TrainStyleConfig,
        "deep learning,style transfer,GAN,PyTorch",
        {
            "sources": (Port("INPUT", "rasters", "Rasters", "Patches are drawn from all alike."),),
            "output": (Port("OUTPUT", "file_out", "Style model", "For Harmonize.", "safetensors"),),
            "run": RUN,
        },
        folded=(
            "preset",
            "bands",
            "batch",
            "patch",
            "vgg",
            "hold_out",
            "seed",
            "bidx",
            "nodata",
            *CARD,
        ),
        help="Trains a style model on rasters without labels, for Harmonize.",
    ),
    "train-segmenter": Verb(
        "Train a building model",
        GROUP,
        config.TrainSegmenterConfig,
        f"{SEARCH_BUILDINGS},deep learning,domain adaptation,fine-tune,PyTorch,segmentation",
        {
            "sources": (Port("INPUT", "rasters", "Rasters with footprints", "Labelled imagery."),),
            "footprints": (
                Port(
                    "FOOTPRINTS",
                    "vectors",
                    "Footprints",
                    "Buildings of all rasters, or one layer a raster in the same order. "
                    "Empty: the one vector file in each raster's folder.",
                    optional=True,
                ),
            ),
            "area": (
                Port(
                    "AREA",
                    "vector",
                    "Labelled area",
                    "Polygons within which footprints are complete, if they are not everywhere.",
                    optional=True,
                ),
            ),
            "targets": (
                Port(
                    "TARGET",
                    "rasters",
                    "My imagery without labels",
                    "Imagery that the model is for.",
                    optional=True,
                ),
            ),
            "output": (Port("OUTPUT", "file_out", "Model", "For Find buildings.", "safetensors"),),
            "run": RUN,
        },
        folded=(
            "architecture",
            "encoder",
            "encoder_weights",
            "batch",
            "patch",
            "lr",
            "seed",
            "hold_out",
            "jitter",
            "degrade",
            "negatives",
            "share",
            "style_model",
            "bidx",
            "nodata",
            *CARD,
        ),
        help="Trains on rasters with footprints, which must be complete there or within the "
        "labelled area. With imagery without labels, the model is made for that.",
        # Needs no network, and fewer steps than from an encoder.
        initial=(("init_from", "default"),),
    ),
}
