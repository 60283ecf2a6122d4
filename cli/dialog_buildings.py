"""The commands of `Buildings` as dialogs: which kind of thing each input and output is."""

from geossda import config

from .dialog_ports import AREA, MOSAIC, SEARCH_BUILDINGS, VECTORS, Port, Rule, Verb
from .evaluate import SHAPES

GROUP = "Buildings"
COUNTS = (
    ("BUILDINGS", "count", "Buildings in the layer"),
    ("AREA_M2", "sum:area_m2", "Area of the buildings in the layer, m²"),
)
MEASURES = {"iou": "IoU", "precision": "Precision", "recall": "Recall", "f1": "F1"}
VERBS = {
    "segment": Verb(
        "Find buildings",
        GROUP,
        config.SegmentConfig,
        f"{SEARCH_BUILDINGS},mosaic,deep learning,digitize,extract,segmentation,regularize",
        {
            "sources": MOSAIC,
            "area": (AREA,),
            "output": (
                Port(
                    "OUTPUT", "vector_out", "Buildings", "Footprints.", VECTORS, layer="buildings"
                ),
            ),
            "probabilities": (
                Port(
                    "PROBABILITIES",
                    "raster_out",
                    "Probabilities",
                    "Of each pixel to be a building, 0 to 1.",
                    "tif",
                    optional=True,
                    style="probabilities",
                ),
            ),
            "mask": (
                Port(
                    "MASK",
                    "raster_out",
                    "Mask of buildings",
                    "1 where the probability reaches the least confidence, else 0.",
                    "tif",
                    optional=True,
                    style="mask",
                ),
            ),
        },
        help="Predicts where buildings are and writes their footprints, with a confidence each.",
        folded=("model", "gsd", "tta", "tolerance", "stretch", "bidx", "nodata", "append"),
        results=COUNTS,
    ),
    "polygonize": Verb(
        "Make footprints",
        GROUP,
        config.PolygonizeConfig,
        f"{SEARCH_BUILDINGS},vectorize,digitize,regularize,mask,orthogonalize",
        {
            "source": (
                Port(
                    "INPUT",
                    "raster",
                    "Mask or probabilities",
                    "One band: whole numbers, every value but 0 a building, or decimals, which are "
                    "probabilities.",
                ),
            ),
            "output": (
                Port("OUTPUT", "vector_out", "Footprints", "Polygons.", VECTORS, layer="buildings"),
            ),
        },
        help="Turns a mask or probabilities that you have into footprints.",
        folded=("connectivity", "bidx", "nodata", "append"),
        results=COUNTS,
    ),
    "align": Verb(
        "Align footprints",
        GROUP,
        config.AlignConfig,
        f"{SEARCH_BUILDINGS},shift,offset,misaligned,OpenStreetMap,OSM,registration,labels",
        {
            "footprints": (
                Port("FOOTPRINTS", "vector", "Footprints", "Polygons that lie beside the imagery."),
            ),
            "rasters": MOSAIC,
            "output": (
                Port(
                    "OUTPUT",
                    "vector_out",
                    "Aligned footprints",
                    "The same features, shifted; with the shift and its confidence as fields.",
                    VECTORS,
                    layer="buildings",
                ),
            ),
        },
        help="Shifts each group of touching footprints to where the imagery, or a raster of "
        "probabilities, shows the buildings, neighbors alike. Attributes are kept.",
        folded=("model", "gsd", "stretch", "bidx", "nodata"),
        results=(("FOOTPRINTS_COUNT", "count", "Footprints in the layer"),),
    ),
    "evaluate": Verb(
        "Compare buildings",
        GROUP,
        config.EvaluateConfig,
        f"{SEARCH_BUILDINGS},accuracy,validation,precision,recall,IoU,F1,error",
        {
            "found": (
                Port(
                    "FOUND",
                    "vector",
                    "Buildings to check",
                    "Such as those that Find buildings has written.",
                    optional=True,
                ),
                Port(
                    "FOUND_RASTER",
                    "raster",
                    "Buildings to check, as a raster",
                    "A mask or probabilities instead of the layer.",
                    optional=True,
                    advanced=True,
                ),
            ),
            "true": (
                Port(
                    "TRUE",
                    "vector",
                    "True buildings",
                    "Surveyed or digitized; complete, at least within the area.",
                    optional=True,
                ),
                Port(
                    "TRUE_RASTER",
                    "raster",
                    "True buildings, as a raster",
                    "A mask instead of the layer.",
                    optional=True,
                    advanced=True,
                ),
            ),
            "area": (
                Port(
                    "AREA",
                    "vector",
                    "Area to stay within",
                    "Polygons; what lies outside is not counted.",
                    optional=True,
                ),
                Port(
                    "AREA_RASTER",
                    "raster",
                    "Raster whose data to stay within",
                    "Pixels without data are not counted.",
                    optional=True,
                ),
            ),
            "errors": (
                Port(
                    "ERRORS",
                    "vector_out",
                    "Hits, misses and false alarms",
                    "All three as one styled layer.",
                    "gpkg",
                    optional=True,
                    layer="errors",
                ),
            ),
        },
        rules=(
            Rule("one", ("FOUND", "FOUND_RASTER"), "choose the buildings to check"),
            Rule("one", ("TRUE", "TRUE_RASTER"), "choose the true buildings"),
            Rule("at most one", ("AREA", "AREA_RASTER"), "choose one area: polygons or a raster"),
        ),
        help="Compares buildings with true ones, pixel by pixel and building by building.",
        switches=("--json",),
        results=(
            *(
                (f"{part}_{measure}".upper(), f"{part}.{measure}", f"{title} of {part}")
                for part in ("pixels", "buildings")
                for measure, title in MEASURES.items()
            ),
            *((name.upper(), f"shapes.{name}", label) for name, label in SHAPES.items()),
        ),
    ),
}
