"""List the models that are at hand."""

import dataclasses
from pathlib import Path
from typing import Any

from geossda.errors import ModelError
from geossda.models.card import SegmenterCard, StyleCard
from geossda.models.download import cached_models
from geossda.models.model_file import DEFAULT, read_card, resolve


@dataclasses.dataclass(frozen=True)
class ListedModel:
    """A model that is bundled, or was downloaded.

    Attributes
    ----------
    model : str
        As ``--model`` or ``--style-model`` takes it.
    kind : {"segmenter", "style", "damaged"}
    name : str
        As its card says, with the version of geossda that wrote it; of a damaged file, the reason.
    path : Path
    """

    model: str
    kind: str
    name: str
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the entries for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def list_models() -> list[ListedModel]:
    """Return the bundled models and those in the cache of downloads.

    Models of the Hugging Face hub lie in its own cache, and are not listed.

    Returns
    -------
    list of ListedModel
        The bundled ones first.
    """
    bundled = [resolve(DEFAULT, SegmenterCard), resolve(DEFAULT, StyleCard)]
    listed = [_listed(DEFAULT, path) for path in bundled]
    return [*listed, *(_listed(str(path), path) for path in cached_models())]


def _listed(model: str, path: Path) -> ListedModel:
    try:
        card = read_card(path)
    except ModelError as error:
        return ListedModel(model, "damaged", str(error), path)
    return ListedModel(model, card.kind, f"{card.name} {card.version}", path)
