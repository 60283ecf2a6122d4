"""The Gaussian of a reference with the land cover of a source."""

import numpy as np

from geossda.color.mixture import match_land
from geossda.harmonization.reading import RasterReading, colors_of_both
from geossda.harmonization.reference_statistics import Sample
from geossda.harmonization.style import Style
from geossda.models.style_arrays import PixelGaussian


def in_proportions_of(reading: RasterReading, style: Style, target: PixelGaussian) -> PixelGaussian:
    """Return the Gaussian of a reference as it would be with the land cover of a source.

    Parameters
    ----------
    reading : RasterReading
        Of the source; its working range is taken as 0 and 1.
    style : Style
    target : PixelGaussian
        Of the whole reference, which is returned where the style has no sample of pixels.
    """
    sample = style.fitted_to(reading.mosaic.dtype, reading.working_range).get(Sample)
    if sample is None:
        reading.progress.warn(
            f"the style {style.name} holds no sample of pixels, so that whole images are matched "
            "instead of like land: make it again with geossda style"
        )
        return target
    mean, covariance = (np.asarray(part, np.float64) for part in reading.covariance)
    matched = match_land(*colors_of_both(reading, sample.values))
    moments = matched.gaussian(mean, covariance)
    return PixelGaussian(*(np.asarray(part, np.float32) for part in moments))
