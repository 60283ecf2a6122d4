"""What makes a GeoPackage open looking right in QGIS."""

import os
import sqlite3
from contextlib import closing
from importlib import resources

LAYER = "buildings"


def add_style(path: str | os.PathLike[str], layer: str = LAYER) -> None:
    """Add the table QGIS looks for default styles in.

    Parameters
    ----------
    path : path
        A GeoPackage just written.
    layer : str
        Its layer; the QML file of that name beside this one is its style.
    """
    qml = (resources.files("geossda.vector") / f"{layer}.qml").read_text()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "
            "f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), "
            "f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, "
            "useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
            "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, 'geom', ?, ?, '', 1, 'Default of geossda', '')",
            (layer, f"geossda {layer}", qml),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', 'QGIS styles')"
        )
