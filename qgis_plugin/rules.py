"""What must hold between inputs, and messages in the words of dialogs. No QGIS in here."""

import re


def broken(rules, values):
    """Return the message of the first rule that does not hold, or "".

    Parameters
    ----------
    rules : list of dict
        As the core describes them: "kind", "ids", "message" and "unless".
    values : dict
        By parameter id: whether it is given; of a choice, the value.
    """
    for rule in rules:
        name, exempt = rule["unless"]
        if name and values.get(name) in exempt:
            continue
        if not HOLDS[rule["kind"]](sum(bool(values.get(name)) for name in rule["ids"])):
            return rule["message"]
    return ""


HOLDS = {
    "any": lambda count: count > 0,
    "one": lambda count: count == 1,
    "at most one": lambda count: count < 2,
}

# What only the command line can do, and what to do in QGIS instead.
INSTEAD = (
    (
        r"gdal_edit(?:\.py)? -a_srs(?: [A-Z]+:[\w.]+)?(?: \S+\.\w+)?",
        "Layer CRS, Set Layer CRS in the layer's context menu",
    ),
    # Dialogs replace what is there unless they append.
    ("--overwrite adds it and keeps", "leave out --append, which adds it and keeps"),
)


def in_dialog_words(text, parameters):
    """Return a message of the core with labels of the dialog instead of command line options.

    Parameters
    ----------
    text : str
    parameters : list of dict
        Of the verb, as the core describes them.
    """
    for pattern, words in INSTEAD:
        text = re.sub(pattern, words, text)
    options = {}
    for parameter in parameters:
        for option in (parameter["option"], parameter.get("off"), parameter.get("crs_option")):
            if option:
                options.setdefault(option, parameter)
    return OPTION.sub(lambda match: _in_words(match, options), text)


# An option, and the word after it: a value, or what stands for one, as in --style REF.
OPTION = re.compile(r"(--[a-z][a-z0-9-]*)(?: (\w[\w.,|/]*\w|\w))?")


def _in_words(match, options):
    option, word = match.groups()
    if option not in options:
        return match[0]
    parameter = options[option]
    label = re.sub(r" \(.*", "", parameter["label"])
    choices = parameter.get("choices") or []
    if word is None:
        return f"“{label}”"
    if word in choices:
        return "“{}: {}”".format(label, parameter["choice_labels"][choices.index(word)])
    if word[0].isdigit():
        return f"“{label}: {word}”"
    return f"“{label}”" if word.partition("|")[0].isupper() else f"“{label}” {word}"
