"""Labels, help and the words for choices in dialogs, by the names of settings."""

from typing import NamedTuple


class Label(NamedTuple):
    """What a dialog calls a setting.

    Attributes
    ----------
    text : str
        With the unit.
    kind : str
        "bands", "extent", "model" (a file, or one of a few words) or "distance" (in metres on the
        ground, whatever the CRS), where the type alone does not tell.
    decimals : int
        Shown of a number.
    """

    text: str
    kind: str = ""
    decimals: int = 2


# Settings of one name mean the same in every command; those that do not, stand in `OF_COMMAND`.
LABELS = {
    "adapt": Label("How to imitate its colors"),
    "adain": Label("Levels that take the other style"),
    "adversarial": Label("Weight of the adversarial loss"),
    "append": Label("Add to existing GeoPackage layer"),
    "architecture": Label("Architecture"),
    "attribution": Label("Attribution, for the model card"),
    "auxiliary": Label("Weight of the auxiliary outputs (boundary, distance)"),
    "balance": Label("Balance overlapping rasters first"),
    "balance_cost": Label("What quadratic programming minimizes in overlaps"),
    "balance_space": Label("What is balanced"),
    "bands": Label("Bands the model takes at a time"),
    "batch": Label("Windows at a time"),
    "bidx": Label("Bands to use, in order", "bands"),
    "block": Label("Tile size (px)"),
    "bounds": Label("Extent", "extent"),
    "building_fraction": Label("Built-up share of my imagery, roughly (0.2 = 20 %)"),
    "cell": Label("Cell size (px)"),
    "checkpoint": Label("Steps between checkpoints"),
    "co": Label("GeoTIFF creation options (NAME=VALUE ...)"),
    "color": Label("Weight of the color distribution loss"),
    "connectivity": Label("Pixels that touch at a corner"),
    "contrast": Label("Contrastive loss"),
    "contrastive": Label("Weight of the contrastive loss"),
    "critic_every": Label("Generator steps to one of the discriminator"),
    "cycle": Label("Weight of the cycle loss"),
    "data": Label("Training data, for the model card"),
    "degrade": Label("Degrade patches as imagery is (blur, haze, JPEG)"),
    "device": Label("Run on"),
    "domain": Label("Domain of the reference (empty: the name of its folder)"),
    "ema": Label("Decay of the averaged weights (EMA)", decimals=4),
    "encoder": Label("Encoder"),
    "encoder_weights": Label("Encoder weights (imagenet, none or a file)"),
    "feather": Label("Blend width where rasters overlap (px)"),
    "floor": Label("Least width of the stretch (fraction)", decimals=3),
    "gsd": Label("Work at pixel size (m)", "distance"),
    "high_percent": Label("Upper percentile (%)", decimals=1),
    "hold_out": Label("Share held back from training, 0-0.9"),
    "init_from": Label("Start from (“default”: the bundled model; empty: anew)", "model"),
    "iou": Label("Overlap to count as the same building (IoU, 0-1)"),
    "jitter": Label("Vary colors at random"),
    "licence": Label("License of the weights, for the model card"),
    "low_percent": Label("Lower percentile (%)", decimals=1),
    "lr": Label("Learning rate", decimals=6),
    "match": Label("Match"),
    "mean_teacher": Label("Learn from it too (mean teacher)"),
    "method": Label("Method"),
    "min_area": Label("Smallest building (m²)", decimals=1),
    "min_confidence": Label("Leave out buildings of lower confidence (0-1)"),
    "model": Label("Building model (empty: the bundled one)", "model"),
    "name": Label("Name, for the model card"),
    "negatives": Label("Learn from rasters without a building, too"),
    "nodata": Label("Nodata value (not set: as the file declares)", decimals=4),
    "optimizer": Label("Optimizer"),
    "patch": Label("Patch size (px)"),
    "patches": Label("Patches that a style is measured on"),
    "perceptual": Label("Weight of the perceptual loss", decimals=4),
    "precision": Label("Precision of the model"),
    "preset": Label("Networks and losses"),
    "reach": Label("Reach on either side of a seam (px)"),
    "reconstruction": Label("Weight of the reconstruction loss"),
    "regularize": Label("Outlines"),
    "runtime": Label("Run by"),
    "scaling": Label("Scaling of pixel values"),
    "scenes": Label("Even out scenes first"),
    "schedule": Label("Learning rate schedule"),
    "seamline_feather": Label("Blend width along seamlines (px)"),
    "seamlines": Label("Cut overlapping rasters along seamlines"),
    "scheduler": Label("Address of a Dask scheduler"),
    "search": Label("Largest shift (m)", "distance"),
    "seed": Label("Random seed"),
    "share": Label("Share of patches that imitate it, 0-1"),
    "split": Label("Separate touching buildings"),
    "steps": Label("Training steps"),
    "strength": Label("Strength (0: unchanged, 1: as the reference)"),
    "stretch": Label("Scale pixels by the statistics of"),
    "structure": Label("Detail"),
    "style_model": Label("Style model (empty: the bundled one)", "model"),
    "target_batch": Label("Patches of my imagery a step"),
    "temperature": Label("Temperature of the contrastive loss", decimals=3),
    "threshold": Label("Least confidence, 0-1"),
    "tile": Label("Tile size (px)"),
    "tolerance": Label("Walls may move by (m)", "distance"),
    "tta": Label("Quality"),
    "vgg": Label("VGG16 weights (imagenet or a file)"),
    "weight_decay": Label("Weight decay", decimals=4),
    "weights": Label("Weight of each reference (numbers with spaces between)"),
    "width": Label("Largest width of pictures (px)"),
    "workers": Label("Processes"),
}
OF_COMMAND = {
    ("matrix", "cell"): Label("Size of a picture (px)"),
    ("polygonize", "workers"): Label("Threads (not set: all cores)"),
    ("align", "bidx"): Label("Bands the model takes, in its order", "bands"),
    ("segment", "bidx"): Label("Bands the model takes, in its order", "bands"),
    ("segment", "gsd"): Label("Work at pixel size (m; not set: the model's)", "distance"),
    ("segment", "threshold"): Label("Least confidence, 0-1 (not set: the model's, 0.5)"),
    ("train-segmenter", "batch"): Label("Patches a step"),
    ("train-segmenter", "steps"): Label("Training steps (about 20 min per 1000 on two cores)"),
    ("train-style", "batch"): Label("Patches a step"),
    ("train-style", "structure"): Label("Weight of the edge loss"),
    ("train-style", "width"): Label("Channels of the first layer"),
}
_METHODS = {
    "auto": "Automatic: learned where the style model fits",
    "ssda": "Learned (SS(DA)²)",
    "translation": "Learned between folders (a style model of domains)",
    "histogram": "Histogram matching",
    "linear": "Mean and deviation of each band",
    "mixture": "Like land to like land (mixture)",
    "graph": "Clusters of colours matched as graphs",
    "reinhard": "Mean and deviation in Lab (Reinhard)",
    "grayworld": "Gray world (no reference)",
    "equalize": "Histogram equalization (no reference)",
    "none": "None: only balance and mosaic (no reference)",
}
_PRESET = {"preset": "As the preset"}
# The words for choices; a choice without any is shown as it is.
CHOICES = {
    "adain": {"all": "All levels", "deepest": "The deepest level"},
    "adapt": {
        "auto": "Automatic",
        "none": "Not at all",
        "equalize": "Histogram equalization of both",
        "hsv": "Random hue and saturation",
        "gamma": "Random gamma",
        "mix": "Random histogram matching among all rasters, part of the way",
        "rhm": "Random histogram matching",
        "graph": "Graph matching of colours, by place",
        "daug": "Learned, one style a folder (DAugNet)",
        "translation": "Learned between folders (CycleGAN, StarGAN)",
        "standardgan": "Learned, all to one standard (StandardGAN)",
        "ssda": "Learned (SS(DA)²)",
    },
    "balance": {
        "none": "No: each by its own statistics",
        "gain-offset": "Gain and offset of each band",
        "qp": "Gain of each band (quadratic programming)",
    },
    "balance_cost": {
        "rmse": "Differences of pixels",
        "mu": "Differences of means",
        "musig": "Differences of means and standard deviations",
    },
    "balance_space": {
        "bands": "Each band",
        "decorrelated": "Decorrelated color (three bands)",
    },
    "connectivity": {"4": "Are two buildings", "8": "Are one building"},
    "contrast": {**_PRESET, "infonce": "Each anchor against the batch", "batch": "One softmax"},
    "device": {
        "auto": "Automatic",
        "cpu": "Processor",
        "cuda": "NVIDIA card",
        "mps": "Apple graphics",
        "intel-gpu": "Intel graphics",
    },
    "method": _METHODS,
    "precision": {
        "auto": "Automatic",
        "float32": "32 bit",
        "bfloat16": "16 bit (bfloat16)",
        "int8": "8-bit integers",
    },
    "runtime": {"auto": "Automatic", "openvino": "OpenVINO", "torch": "PyTorch"},
    "optimizer": {**_PRESET, "adam": "Adam", "sgd": "SGD"},
    "preset": {
        "geossda": "geossda",
        "paper": "As in the paper",
        "daug": "One style a folder",
        "cyclegan": "CycleGAN (between two folders)",
        "standardgan": "StandardGAN (to what all folders have in common)",
        "stargan": "StarGAN (between folders)",
        "starganv2": "StarGAN v2 (between folders, by reference)",
    },
    "regularize": {
        "rectilinear": "Square corners",
        "simplify": "Simplified",
        "none": "Follow pixels",
    },
    "scaling": {
        "percentile": "Between percentiles",
        "bits": "8 bit as they are",
        "equalize": "Equalized",
    },
    "match": {"auto": "Automatic", "land": "Like land", "whole": "Whole images"},
    "scenes": {"auto": "Yes, where their light differs clearly", "none": "No"},
    "seamlines": {"auto": "Yes, where it is least visible", "none": "No: blend overlaps"},
    "schedule": {"cosine": "Cosine", "polynomial": "Polynomial", "trapezoid": "Trapezoid"},
    "stretch": {"source": "Each raster", "mosaic": "All rasters together"},
    "structure": {"lock": "Keep every detail", "full": "Let the network redraw"},
    "tta": {"1": "Fast", "2": "Normal", "4": "Better, 2x slower", "8": "4x slower"},
}
# Help where that of the command line speaks of typing options.
HELP = {
    "adapt": "How labelled patches are made to look like my imagery. Automatic is the learned way "
    "where there is imagery without labels and labels are of one folder; for several, not at all, "
    "or the learned way where colors are not varied at random or values not stretched.",
    "append": "The layer keeps its features; new ones are added. Choose the GeoPackage as output.",
    "balance": "Several rasters are brought to one radiometry by what they show where they "
    "overlap, and their colors are then matched as those of one.",
    "bounds": "Only this part of the raster: xmin, xmax, ymin, ymax, widened to whole pixels.",
    "building_fraction": "What the model learns from imagery without labels is drawn towards it.",
    "co": "For the writer of cloud-optimized GeoTIFFs, such as COMPRESS=ZSTD.",
    "connectivity": "Whether pixels that touch at a corner only belong to one building.",
    "encoder_weights": "Used where training does not start from a model. “imagenet” is downloaded "
    "from a model hub.",
    "feather": "Overlapping rasters fade into each other over this many pixels.",
    "init_from": "Model to fine-tune: its architecture, encoder and weights are taken. The bundled "
    "model needs no network; empty, training starts from the encoder's weights.",
    "iou": "Area that two footprints have in common over the area of both.",
    "match": "With the learned style: like land of both, so that a reference of more trees makes "
    "nothing greener, or whole images. Automatic is whole images for several rasters, which then "
    "end up alike.",
    "mean_teacher": "Consistency training on the imagery without labels. Not done where labels "
    "are of several folders and their look is chosen automatically.",
    "method": "Automatic is the learned style where the style model fits the bands, else histogram "
    "matching.",
    "model": "The bundled model, or one of your own (safetensors).",
    "nodata": "Value of pixels without data, if the file does not declare it.",
    "regularize": "Square corners are right-angled where walls nearly are; simplified outlines "
    "have few corners; or outlines follow the pixels.",
    "scenes": "Brings scenes of a mosaic, of any shape, to one radiometry before its colors are "
    "matched.",
    "scheduler": "Workers of a Dask cluster do the work, such as tcp://host:8786.",
    "seamlines": "One raster ends and the other begins along a line that avoids what differs "
    "between them. The lines are written beside the output, to be looked at and edited.",
    "split": "Cuts buildings that touch where the probabilities dip or a mask is narrow.",
    "steps": "More steps fit the model better, and take longer.",
    "structure": "With the learned style: keep every edge and detail of the imagery, or take what "
    "the network draws.",
    "style_model": "The bundled style model, or one of your own (safetensors).",
    "threshold": "Probability from which a pixel is a building.",
    "tile": "Size of the tiles that the work is cut into; the result is the same.",
    "tolerance": "How far walls may be moved to square or simplify outlines.",
    "tta": "Predictions are averaged over mirrored and turned copies of every window.",
    "vgg": "“imagenet” is downloaded from a model hub.",
    "weights": "Share of each reference in the style. Empty: by their numbers of pixels.",
}


HELP_OF_COMMAND = {("matrix", "method"): "How the colors are matched."}


def help_of(command: str, name: str, otherwise: str) -> str:
    """Return the help of a command's setting: `otherwise`, unless a dialog has its own.

    Parameters
    ----------
    command, name : str
        Command and setting, as ``harmonize`` and ``strength``.
    otherwise : str
        Help of the command line.
    """
    return HELP_OF_COMMAND.get((command, name), HELP.get(name, otherwise))


def label_of(command: str, name: str) -> Label:
    """Return the label of a command's setting.

    Parameters
    ----------
    command, name : str
        Command and setting, as ``harmonize`` and ``strength``.
    """
    if (command, name) in OF_COMMAND:
        return OF_COMMAND[command, name]
    plain = name.replace("_", " ")
    return LABELS.get(name, Label(plain[0].upper() + plain[1:]))
