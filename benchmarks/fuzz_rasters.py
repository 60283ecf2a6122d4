"""Rasters as they should not be, for `fuzz.py`: seeded mutations of small TIFFs."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from numpy.random import Generator
from rasterio import Affine
from rasterio.enums import ColorInterp, Resampling

CRS = "EPSG:32633"
HERE = Affine(0.5, 0, 500000, 0, -0.5, 5200000)
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
COMPRESSIONS = ("none", "deflate", "lzw", "zstd", "packbits", "jpeg", "webp", "lerc", "lzma")
BROKEN_WKT = 'PROJCS["x",GEOGCS["y",DATUM["z",SPHEROID["s",0,0]]],UNIT["m",0]]'
SYSTEMS = (
    "EPSG:4326", "EPSG:3857", "EPSG:4978", "EPSG:5773", "EPSG:7415", "EPSG:32661", "EPSG:27700",
    "EPSG:2056", "EPSG:32760", 'LOCAL_CS["local",UNIT["metre",1]]', BROKEN_WKT, None,
    "+proj=ortho +lat_0=90 +lon_0=0", "+proj=geos +h=35785831 +lon_0=0 +sweep=y",
    "+proj=longlat +pm=paris +ellps=GRS80",
)  # fmt: skip


def draw(rng: Generator, bands: int = 3, size: tuple[int, int] = (88, 104)) -> np.ndarray:
    """Draw blocks with noise, (bands, height, width) float64 in 0..1."""
    height, width = size
    blocks = rng.uniform(0.2, 0.8, (bands, height // 8 + 1, width // 8 + 1))
    image = blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    return np.clip(image + rng.normal(0, 0.05, image.shape), 0, 1)


def write(path: Path, image: np.ndarray, **profile: object) -> Path:
    """Write (bands, height, width) pixels as a GeoTIFF."""
    settings = {"crs": CRS, "transform": HERE, "driver": "GTiff"} | profile
    bands, height, width = image.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", count=bands, height=height, width=width, dtype=image.dtype, **settings
        ) as dataset,
    ):
        dataset.write(image)
    return path


def scene(path: Path, rng: Generator, **profile: object) -> Path:
    """Write a scene of three bands of bytes."""
    return write(path, (20 + 210 * draw(rng)).astype(np.uint8), **profile)


def any_profile(rng: Generator) -> dict[str, object]:
    """Draw compression, tiles and interleaving."""
    tiled = bool(rng.random() < 0.5)
    side = int(rng.choice([16, 32, 64, 256, 2048]))
    return {
        "compress": str(rng.choice(COMPRESSIONS[:5])),
        "interleave": str(rng.choice(["pixel", "band"])),
        "BIGTIFF": str(rng.choice(["YES", "NO"])),
        "ENDIANNESS": str(rng.choice(["LITTLE", "BIG"])),
        **({"tiled": True, "blockxsize": side, "blockysize": side} if tiled else {}),
    }


def scatter(path: Path, rng: Generator, low: int = 0, high: int | None = None) -> None:
    """Overwrite a few bytes between two places."""
    data = bytearray(path.read_bytes())
    high = min(len(data), high or len(data))
    for _ in range(int(rng.choice([1, 2, 4, 16, 64]))):
        place = int(rng.integers(low, max(low + 1, high)))
        if place < len(data):
            data[place] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
    path.write_bytes(data)


def bytes_anywhere(path: Path, rng: Generator) -> None:
    """Change bytes anywhere."""
    scene(path, rng, **any_profile(rng))
    scatter(path, rng)


def bytes_of_header(path: Path, rng: Generator) -> None:
    """Change bytes of the header and the directory, which drivers put first."""
    scene(path, rng, **any_profile(rng))
    scatter(path, rng, 0, 600)


def tags(path: Path, rng: Generator) -> None:
    """Change type, count or value of an entry of the TIFF directory."""
    scene(path, rng, **(any_profile(rng) | {"BIGTIFF": "NO", "ENDIANNESS": "LITTLE"}))
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    for _ in range(int(rng.integers(1, 3))):
        place = start + 2 + 12 * int(rng.integers(entries))
        part, kind = [(0, "<H"), (2, "<H"), (4, "<I"), (8, "<I")][rng.integers(4)]
        value = int(rng.choice([0, 1, 2, 3, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1]))
        struct.pack_into(kind, data, place + part, value % (65536 if kind == "<H" else 2**32))
    path.write_bytes(data)


def truncation(path: Path, rng: Generator) -> None:
    """Cut the end off, or the middle out, or append to it."""
    scene(path, rng, **any_profile(rng))
    data = path.read_bytes()
    cut = int(rng.integers(len(data)))
    path.write_bytes(
        [data[:cut], data[: cut // 2] + data[cut:], data + b"\0" * cut][rng.integers(3)]
    )


def geotransform(path: Path, rng: Generator) -> None:
    """Place pixels nowhere, far away, turned, mirrored, or too large or small."""
    numbers = [0.5, 0, -0.5, 1e-12, 1e12, 1e300, -1e300, np.nan, np.inf, 1e-300, 5e5, 90, 180.0]
    values = [0.5, 0.0, 500000.0, 0.0, -0.5, 5200000.0]
    for _ in range(int(rng.integers(1, 4))):
        values[rng.integers(6)] = float(rng.choice(numbers))
    if rng.random() < 0.3:
        values = list(HERE * Affine.rotation(float(rng.uniform(0, 360))))[:6]
    crs = rng.choice(np.array([CRS, CRS, "EPSG:4326", "EPSG:3857"], object))
    scene(path, rng, transform=Affine(*values), crs=crs)


def crs(path: Path, rng: Generator) -> None:
    """Declare another CRS, which may fit nothing."""
    system = SYSTEMS[rng.integers(len(SYSTEMS))]
    try:
        scene(path, rng, crs=system)
    except rasterio.errors.CRSError:
        scene(path, rng)
        Path(f"{path}.aux.xml").write_text(f"<PAMDataset><SRS>{system}</SRS></PAMDataset>")


def dtype(path: Path, rng: Generator) -> None:
    """Write another type, with values at its limits."""
    kind = str(rng.choice([*DTYPES, "complex64", "complex128", "int64", "uint64"]))
    image = draw(rng, int(rng.choice([1, 2, 3, 4, 5])))
    limits = np.finfo(kind) if np.dtype(kind).kind in "fc" else np.iinfo(kind)
    with np.errstate(all="ignore"):
        image = (image * float(rng.choice([1.0, 100, 3000, float(limits.max)]))).astype(kind)
        wild = rng.random(image.shape) < rng.choice([0, 0.01, 0.5])
        image[wild] = rng.choice(np.array([limits.min, limits.max, 0], dtype=kind))
        if np.dtype(kind).kind == "f":
            image[rng.random(image.shape) < rng.choice([0, 0.01, 0.5, 1])] = rng.choice(
                [np.nan, np.inf, -np.inf, -9999, 1e30]
            )
    write(path, image)


def nodata(path: Path, rng: Generator) -> None:
    """Declare a nodata value that may not fit the type, or cover much or all."""
    kind = str(rng.choice(DTYPES))
    image = (draw(rng) * 100).astype(kind)
    image[:, :, : int(rng.choice([0, 10, 103, 104]))] = 0
    write(path, image, nodata=0)
    texts = [b"nan", b"inf", b"-9999", b"1e308", b"-0", b"x", b"", b"0x10", b"255", b"1,2", b"0.5"]
    data = path.read_bytes()
    place = data.find(b"0\0", 8)
    with rasterio.Env(), rasterio.open(path, "r+") as dataset:
        value = float(rng.choice([0, np.nan, np.inf, -9999, 1e308, 255, 0.5, 65535, -(2.0**31)]))
        try:
            dataset.nodata = value
        except (ValueError, rasterio.errors.RasterioError):
            band = f"<NoDataValue>{texts[rng.integers(len(texts))].decode()}</NoDataValue>"
            Path(f"{path}.aux.xml").write_text(
                f'<PAMDataset><PAMRasterBand band="1">{band}</PAMRasterBand></PAMDataset>'
            )
    if place > 0 and rng.random() < 0.3:
        text = texts[rng.integers(len(texts))]
        path.write_bytes(path.read_bytes().replace(b"0\0\0\0", (text + b"\0" * 4)[:4], 1))


def mask(path: Path, rng: Generator) -> None:
    """Tell validity by masks and alpha bands that are odd, empty or of another size."""
    image = (20 + 210 * draw(rng, 4)).astype(np.uint8)
    valid = rng.random(image.shape[1:]) < rng.choice([0, 0.001, 0.5, 1])
    image[3] = valid * rng.choice([1, 127, 254, 255])
    write(path, image[: int(rng.choice([3, 4]))], photometric="rgb", nodata=rng.choice([None, 0]))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=bool(rng.random() < 0.5)):
        with rasterio.open(path, "r+") as dataset:
            if rng.random() < 0.6:
                dataset.write_mask(valid)
            if rng.random() < 0.5:
                place = int(rng.integers(dataset.count))
                colors = list(dataset.colorinterp)
                colors[place] = ColorInterp.alpha
                dataset.colorinterp = colors
    if rng.random() < 0.4:
        side = path.with_name(path.name + ".msk")
        if rng.random() < 0.5 and side.exists():
            scatter(side, rng)
        else:
            size = (int(rng.choice([1, 44, 88])), int(rng.choice([1, 52, 104])))
            write(side, (draw(rng, 1, size) > 0.5).astype(np.uint8) * 255)


def overviews(path: Path, rng: Generator) -> None:
    """Add overviews, inside or beside, and damage them."""
    scene(path, rng, tiled=True, blockxsize=16, blockysize=16)
    beside = bool(rng.random() < 0.5)
    whole = path.stat().st_size
    with rasterio.Env(TIFF_USE_OVR=beside), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, int(rng.choice([8, 64]))], Resampling.average)
    side = path.with_name(path.name + ".ovr")
    if side.exists():
        scatter(side, rng)
    else:
        scatter(path, rng, min(whole, path.stat().st_size - 1))


def compression(path: Path, rng: Generator) -> None:
    """Damage compressed blocks."""
    kind = str(rng.choice(COMPRESSIONS[1:]))
    scene(path, rng, compress=kind, tiled=True, blockxsize=32, blockysize=32,
          **({"photometric": "ycbcr"} if kind == "jpeg" else {}))  # fmt: skip
    scatter(path, rng, path.stat().st_size // 2)


def tiles(path: Path, rng: Generator) -> None:
    """Store blocks of odd sizes, sparse ones, or rasters of odd shapes."""
    size = (int(rng.choice([1, 2, 17, 64, 300])), int(rng.choice([1, 3, 33, 64, 300])))
    image = (20 + 210 * draw(rng, int(rng.choice([1, 3, 7])), size)).astype(np.uint8)
    if rng.random() < 0.5:
        write(path, image, blockysize=int(rng.integers(1, size[0] + 1)))
    else:
        side = int(rng.choice([16, 4096, 8192]))
        write(path, image[:, : size[0] // 2] if size[0] > 1 else image, tiled=True,
              blockxsize=16, blockysize=side, SPARSE_OK=True, compress="deflate")  # fmt: skip


def photometric(path: Path, rng: Generator) -> None:
    """Store palettes, CMYK, Lab, white as zero, few bits a pixel."""
    image = (255 * draw(rng, int(rng.choice([1, 3, 4])))).astype(np.uint8)
    kinds = {1: ["miniswhite", "minisblack"], 3: ["rgb", "cielab", "icclab", "minisblack"],
             4: ["cmyk", "rgb"]}[len(image)]  # fmt: skip
    profile: dict[str, object] = {"photometric": str(rng.choice(kinds))}
    if len(image) == 1 and rng.random() < 0.6:
        bits = int(rng.choice([1, 2, 4, 7]))
        image >>= 8 - bits
        profile = {"NBITS": bits}
    write(path, image, **profile)
    if len(image) == 1 and rng.random() < 0.6:
        with rasterio.open(path, "r+") as dataset:
            size = int(rng.choice([1, 16, 256]))
            dataset.write_colormap(1, {i: (i, 255 - i, 0, 255) for i in range(size)})


def values(path: Path, rng: Generator) -> None:
    """Hold nothing, one value, one pixel, or bands that are the same or flat."""
    image = 20 + 210 * draw(rng, int(rng.choice([1, 3, 4])))
    case = rng.integers(6)
    if case == 0:
        image[:] = 0
    elif case == 1:
        image[:] = float(rng.choice([1, 128, 255]))
    elif case == 2:
        image[:] = 0
        image[:, 40, 50] = 200
    elif case == 3:
        image[0] = 77
    elif case == 4:
        image[:] = image[0]
    else:
        image = np.where(image > 128, 255, 0)
    kind = str(rng.choice(["uint8", "uint16", "float32"]))
    write(path, image.astype(kind), nodata=rng.choice([None, 0]))


def metadata(path: Path, rng: Generator) -> None:
    """Carry hostile tags, names, scales, control points and side files."""
    scene(path, rng)
    hostile = ["<script>alert(1)</script>", "x" * 200_000, "a\nb\x1b[31m", "{", "[]", "NaN", "ÿ☃"]
    text = str(rng.choice(np.array(hostile, object)))
    with rasterio.open(path, "r+") as dataset:
        for name in rng.choice(
            ["GEOSSDA_STYLE", "GEOSSDA_SOURCES", "GEOSSDA_STAGES", "GEOSSDA_SETTINGS",
             "GEOSSDA_METHOD", "GEOSSDA_VERSION", "AREA_OR_POINT", "x" * 300], 3
        ):  # fmt: skip
            dataset.update_tags(**{str(name): text})
        dataset.set_band_description(1, text[:1000])
        if rng.random() < 0.5:
            dataset.scales = [float(rng.choice([0, np.nan, 1e300, -1]))] * 3
            dataset.offsets = [float(rng.choice([0, np.nan, 1e300]))] * 3
        if rng.random() < 0.3:
            dataset.update_tags(ns="RPC", LINE_OFF=text[:99], SAMP_OFF="nan", LINE_SCALE="0")
    if rng.random() < 0.4:
        lines = [str(rng.choice(["0", "nan", "0.5", "-0.5", "1e400", "x"])) for _ in range(6)]
        path.with_suffix(".tfw").write_text("\n".join(lines))
    if rng.random() < 0.3:
        Path(f"{path}.aux.xml").write_text(str(rng.choice(np.array(
            ["<PAMDataset>", "", "<PAMDataset><Metadata domain='IMAGE_STRUCTURE'><MDI key='NBITS'>0"
             "</MDI></Metadata></PAMDataset>", "<PAMDataset><GeoTransform>0,0,0,0,0,0"
             "</GeoTransform></PAMDataset>", "\0\1\2"], object))))  # fmt: skip


def vrt(path: Path, rng: Generator) -> None:
    """Put a VRT around a raster that lies about sizes, types, sources and bands."""
    inner = scene(path.with_name("inner.tif"), rng, nodata=rng.choice([None, 0]))
    choose = lambda *texts: str(texts[rng.integers(len(texts))])  # noqa: E731
    name = choose("inner.tif", "inner.tif", "inner.tif", "gone.tif", path.name, str(inner), "",
                  "/dev/null", "/vsizip/inner.tif", "\x26lt;", "NETCDF:inner.tif:x")  # fmt: skip
    numbers = ("0", "1", "-1", "104", "2147483647", "1e308", "nan", "0.3", "50", "x")
    rect = " ".join(
        f'{side}="{choose(*numbers) if rng.random() < 0.3 else usual}"'
        for side, usual in (("xOff", 0), ("yOff", 0), ("xSize", 104), ("ySize", 88))
    )
    kind = choose("Byte", "Byte", "Byte", "UInt16", "Float32", "CFloat64", "Int8", "Nothing")
    source = choose("SimpleSource", "SimpleSource", "ComplexSource", "KernelFilteredSource",
                    "AveragedSource", "NoDataFromMaskSource", "Unknown")  # fmt: skip
    inside = (
        f'<{source}><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        f"<SourceBand>{choose('1', '1', '1', '2', '4', '0', 'mask,1', 'x')}</SourceBand>"
        f"<SrcRect {rect}/><DstRect {rect}/>"
        + choose("", "<NODATA>0</NODATA>", "<ScaleRatio>nan</ScaleRatio>", "<LUT>0:0,255:x</LUT>",
                 "<Kernel><Size>3</Size><Coefs>1</Coefs></Kernel>")
        + f"</{source}>"
    )  # fmt: skip
    extra = choose("", "", "<NoDataValue>0</NoDataValue>", "<NoDataValue>nan</NoDataValue>",
                   "<ColorInterp>Alpha</ColorInterp>", "<Overview><SourceFilename>gone.tif"
                   "</SourceFilename><SourceBand>1</SourceBand></Overview>",
                   "<HideNoDataValue>1</HideNoDataValue>")  # fmt: skip
    band_type = choose("", "", "", ' subClass="VRTDerivedRasterBand"',
                       ' subClass="VRTRawRasterBand"',
                       ' subClass="VRTWarpedRasterBand"')  # fmt: skip
    function = choose("", "<PixelFunctionType>sum</PixelFunctionType>",
                      "<PixelFunctionType>gone</PixelFunctionType>",
                      "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
                      "<PixelFunctionType>os.system</PixelFunctionType>")  # fmt: skip
    bands = "".join(
        f'<VRTRasterBand dataType="{kind if rng.random() < 0.8 else "Byte"}" band="{band}"'
        f"{band_type}>{extra}{function if 'Derived' in band_type else ''}{inside}</VRTRasterBand>"
        for band in range(1, int(rng.choice([1, 3, 3, 4])) + 1)
    )
    place = choose("500000,0.5,0,5200000,0,-0.5", "500000,0.5,0,5200000,0,-0.5", "0,0,0,0,0,0", "x")
    width, height = ("104", "88") if rng.random() < 0.8 else (choose(*numbers), choose(*numbers))
    text = (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{choose(CRS, CRS, "", "x")}'
        f"</SRS><GeoTransform>{place}</GeoTransform>{bands}"
        + choose("", "", "", '<MaskBand><VRTRasterBand dataType="Byte"/></MaskBand>',
                 "<OverviewList>2 4</OverviewList>")
        + "</VRTDataset>"
    )  # fmt: skip
    if rng.random() < 0.1:
        text = text[: int(rng.integers(len(text)))]
    path.with_suffix(".vrt").write_text(text)


def foreign(path: Path, rng: Generator) -> None:
    """Be something else: a picture, text, nothing, a folder, a link to itself."""
    case = rng.integers(8)
    if case < 3:
        driver = ["PNG", "JPEG", "GIF"][case]
        bands = 1 if driver == "GIF" else 3
        inner = write(path.with_name("inner.tif"), (255 * draw(rng, bands)).astype(np.uint8))
        with rasterio.Env(GDAL_PAM_ENABLED=False):
            rasterio.shutil.copy(inner, path, driver=driver)
        if rng.random() < 0.5:
            scatter(path, rng)
    elif case == 3:
        path.write_bytes(b"")
    elif case == 4:
        path.write_bytes(rng.bytes(int(rng.integers(1, 5000))))
    elif case == 5:
        path.mkdir()
        if rng.random() < 0.5:
            scene(path / "a.tif", rng)
            (path / "b.tif").write_bytes(b"II*\0")
    elif case == 6:
        path.symlink_to(path)
    else:
        path.write_text("<html>404 Not Found</html>")


def name(path: Path, rng: Generator) -> Path:
    """Have a name that trips parsers, shells and messages."""
    scene(path, rng)
    names = ["a b.tif", "-o.tif", "%41%s{}.tif", "a\nb.tif", "[x].tif", "a?b#c=d.tif", "ä☃😀.tif",
             "a|layername=b.tif", "'\"; drop.tif", "x" * 200 + ".tif", "GTIFF_DIR:1:a.tif",
             "noend", "UPPER.TIF", "\x1b[31m.tif", "a,b.tif", b"\xff\xfe.tif".decode("utf-8", "surrogateescape")]  # fmt: skip  # noqa: E501
    other = path.with_name(names[rng.integers(len(names))])
    shutil.move(path, other)
    if rng.random() < 0.5:
        scatter(other, rng)
    return other


MUTATIONS: tuple[Callable[[Path, Generator], Path | None], ...] = (
    bytes_anywhere, bytes_of_header, tags, truncation, geotransform, crs, dtype, nodata, mask,
    overviews, compression, tiles, photometric, values, metadata, vrt, vrt, foreign, name,
)  # fmt: skip


def make(folder: Path, rng: Generator, number: int) -> tuple[str, Path]:
    """Make case `number` in an empty folder: kind of the mutation, and the file."""
    mutation = MUTATIONS[number % len(MUTATIONS)]
    path = folder / "case.tif"
    other = mutation(path, rng)
    if mutation is vrt:
        other = path.with_suffix(".vrt")
    return mutation.__name__, other or path
