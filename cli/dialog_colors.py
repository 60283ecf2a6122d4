"""The commands of `Colors` as dialogs: which kind of thing each input and output is."""

from geossda import config

from .dialog_ports import AREA, MOSAIC, VECTORS, Port, Rule, Verb

GROUP = "Colors"
STYLE = (
    Port("STYLE", "raster", "Reference", "Raster whose colors are wanted.", optional=True),
    Port(
        "MORE_STYLES",
        "rasters",
        "More references",
        "Pooled with the first.",
        optional=True,
        advanced=True,
    ),
    Port(
        "STYLE_FILE",
        "file",
        "Style file",
        "A style saved by “Save a style”, alone or pooled with the references.",
        "json",
        optional=True,
        advanced=True,
    ),
)
SCENES = Port(
    "SCENES_LAYER",
    "vector",
    "Outlines of scenes",
    "Polygons of the scenes, drawn or found by “Find scenes”, instead of detecting their seams.",
    optional=True,
    advanced=True,
)
SEAMLINES = Port(
    "SEAMLINES_LAYER",
    "vector",
    "Seamlines of your own",
    "Polygons with the file name of the raster that is on top there in the field “source”, as "
    "written by Harmonize beside its output and edited.",
    optional=True,
    advanced=True,
)
SEARCH_COLORS = "histogram match,color balance,colour,radiometric,normalization,mosaic,seamless"
VERBS = {
    "harmonize": Verb(
        "Harmonize",
        GROUP,
        config.HarmonizeConfig,
        f"{SEARCH_COLORS},style transfer,deep learning,dodging,feather",
        {
            "sources": MOSAIC,
            "style": STYLE,
            "area": (AREA,),
            "scenes": (SCENES,),
            "seamlines": (SEAMLINES,),
            "output": (
                Port("OUTPUT", "raster_out", "Harmonized", "One mosaic of all rasters.", "tif"),
            ),
        },
        folded=(
            "structure",
            "style_model",
            "domain",
            "balance",
            "seamlines",
            "bidx",
            "nodata",
            "feather",
        ),
        help="Matches the colors of a raster, or of several as one mosaic, to those of a reference "
        "that need not overlap. CRS, size, data type, nodata and band names are kept.",
        rules=(
            Rule(
                "any",
                ("STYLE", "MORE_STYLES", "STYLE_FILE"),
                "choose a Reference, the raster whose colors are wanted, or a method that needs "
                "none",
                ("METHOD", ("grayworld", "equalize", "none")),
            ),
        ),
    ),
    "scenes": Verb(
        "Find scenes",
        GROUP,
        config.ScenesConfig,
        f"{SEARCH_COLORS},seam,seamline,cutline",
        {
            "source": (Port("INPUT", "raster", "Raster", "A mosaic of several scenes."),),
            "area": (AREA,),
            "output": (
                Port("OUTPUT", "vector_out", "Scenes", "An outline each.", VECTORS, layer="scenes"),
            ),
        },
        folded=("bidx", "nodata"),
        results=(("SCENES", "count", "Scenes in the layer"),),
        help="Detects the scenes of a mosaic, parts of unlike light, and outlines them: look at "
        "them, edit them, and use them as “Outlines of scenes” in Harmonize.",
    ),
    "report": Verb(
        "Report on a harmonized raster",
        GROUP,
        config.ReportConfig,
        f"{SEARCH_COLORS},quality,before and after,compare",
        {
            "harmonized": (
                Port("INPUT", "raster", "Harmonized raster", "As Harmonize has written it."),
            ),
            "sources": (
                Port(
                    "SOURCES",
                    "rasters",
                    "Rasters it was made from",
                    "In the same order. Empty: files of the names written in it, beside it.",
                    optional=True,
                ),
            ),
            "area": (AREA,),
            "scenes": (
                SCENES._replace(
                    help="Measures the step in color where the scenes meet.", advanced=False
                ),
            ),
            "output": (
                Port(
                    "OUTPUT",
                    "file_out",
                    "Report",
                    help="A page for the browser that needs no network.",
                    suffix="html",
                ),
            ),
            "qa": (
                Port(
                    "QA",
                    "raster_out",
                    "Similarity",
                    "How far structure is kept, from 0 to 1 (unchanged).",
                    suffix="tif",
                    optional=True,
                    style="similarity",
                ),
            ),
        },
        folded=("cell", "reach"),
        help="Compares a harmonized raster with what it was made from: before and after, "
        "histograms, steps across windows and scenes, and where structure has changed.",
        switches=("--json",),
        results=(
            ("SEAM_RATIO", "seams.after.ratio", "Step across windows over the step within"),
            ("SEAM_RATIO_BEFORE", "seams.before.ratio", "The same before harmonization"),
            ("LIKENESS", "drawing.median", "Median similarity of structure"),
        ),
    ),
    "style": Verb(
        "Save a style",
        GROUP,
        config.StyleConfig,
        f"{SEARCH_COLORS},reference,statistics",
        {
            "references": (
                Port("INPUT", "rasters", "References", "Rasters whose colors are wanted."),
            ),
            "area": (AREA,),
            "output": (Port("OUTPUT", "file_out", "Style file", "For Harmonize.", suffix="json"),),
        },
        folded=("weights", "style_model", "domain", "bidx", "nodata"),
        help="Measures one or more references once, so that Harmonize can use them again.",
    ),
    "matrix": Verb(
        "Try styles on each other",
        GROUP,
        config.MatrixConfig,
        f"{SEARCH_COLORS},style transfer,compare,preview",
        {
            "images": (Port("INPUT", "rasters", "Rasters", "At least two."),),
            "output": (Port("OUTPUT", "file_out", "Picture", "All of them side by side.", "png"),),
        },
        folded=("structure", "style_model", "patches", "patch", "cell", "bidx", "nodata"),
        help="Renders every raster in the style of every other as one picture: rows keep their "
        "content, columns their style, the originals lie on the diagonal.",
    ),
}
