"""From a verb's description and plain values to the core's command line. No QGIS in here."""

import os
import shlex


def build(verb, values):
    """Make a command's arguments; settings left at their defaults are not spelled out.

    Parameters
    ----------
    verb : dict
        As the core describes it.
    values : dict
        By parameter id: None, bool, number, text, or a list of them.

    Returns
    -------
    list of str
        The command and its arguments.
    """
    named, placed = [], []
    for parameter in verb["parameters"]:
        value = values.get(parameter["id"])
        if value in (None, "", [], parameter.get("default")):
            continue
        if value is True or value is False:
            named.append(parameter["option"] if value else parameter["off"])
        elif parameter["kind"] == "extent":
            *corners, crs = value
            named += [parameter["option"], *map(_text, corners)]
            named += [parameter["crs_option"], crs] if crs else []
        else:
            for one in value if isinstance(value, list) else [value]:
                named += [parameter["option"], _text(one)] if parameter["option"] else []
                placed += [] if parameter["option"] else [_text(one)]
    # What is added to is not replaced.
    switches = [
        switch for switch in verb["switches"] if switch != "--overwrite" or "--append" not in named
    ]
    return [verb["command"], *placed, *named, *switches]


def _text(value):
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    return str(value)


def quoted(command):
    """Write a command so that it can be pasted into a terminal."""
    if os.name != "nt":
        return " ".join(map(shlex.quote, command))
    return " ".join(f'"{part}"' if " " in part or not part else part for part in command)
