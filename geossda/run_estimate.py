"""How much of a run is done, and how long the rest may take, from its stages."""

import time
from collections.abc import Callable, Mapping, Sequence

# The stages of a command in order, with their share of the time on a large mosaic, in percent; a
# stage of several files is listed by its first word. Judged from small crops with the bundled
# models on two cores; the shares only say how long the stages after the present one may take.
_READ_STYLE = (
    ("reading statistics", 4),
    ("sampling colours", 1),
    ("computing style statistics", 3),
)
_HARMONIZE = (
    *_READ_STYLE,
    ("computing tone statistics", 2),
    ("detecting seams", 5),
    ("detecting regions", 1),
    ("balancing scenes", 1),
    ("comparing overlaps", 2),
    ("finding seamlines", 1),
    ("reading statistics", 4),
    ("sampling colours", 1),
    ("computing style statistics", 3),
    ("harmonizing", 65),
    ("compressing", 12),
)
_SEGMENT = (
    ("choosing the resolution", 3),
    ("reading statistics", 3),
    ("segmenting", 77),
    ("writing", 2),
    ("compressing", 2),
    ("polygonizing", 13),
)
_TRAINING = (
    ("reading rasters", 3),
    ("reading statistics", 1),
    ("clustering colours", 1),
    ("standardizing rasters", 1),
    ("computing style statistics", 1),
    ("loading initial weights", 1),
    ("training", 92),
    ("calibrating", 2),
)
PLANS: Mapping[str, Sequence[tuple[str, float]]] = {
    "align": (("reading statistics", 5), ("segmenting", 85), ("aligning", 10)),
    "benchmark": _TRAINING,
    "demo": (
        ("rendering a town", 10),
        *_HARMONIZE,
        *(2 * (*_SEGMENT, ("comparing", 10))),
    ),
    "evaluate": (("comparing", 100),),
    "export": (("measuring ranges for int8", 100),),
    "evaluate-style": (("reading rasters", 20), ("comparing styles", 80)),
    "harmonize": _HARMONIZE,
    "matrix": (("reading rasters", 30), ("drawing the style matrix", 70)),
    "polygonize": (("polygonizing", 100),),
    "report": (
        ("comparing structure", 35),
        ("reading statistics", 15),
        ("measuring window borders", 15),
        ("measuring scene borders", 10),
        ("drawing overviews", 25),
    ),
    "scenes": (
        ("computing tone statistics", 25),
        ("detecting seams", 65),
        ("detecting regions", 10),
    ),
    "segment": _SEGMENT,
    "style": _READ_STYLE,
    "train-segmenter": _TRAINING,
    "train-style": _TRAINING,
}


class RunEstimate:
    """The share of a run that is done, and an estimate of the time that is left.

    Parameters
    ----------
    plan : sequence of (str, float)
        Names of stages in the order in which they usually come, and their shares of the time;
        a stage may come again, be missing, or not be listed.
    clock : callable
        Returns a time in seconds.
    """

    def __init__(
        self, plan: Sequence[tuple[str, float]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._clock = plan, clock
        self._whole = sum(share for _, share in plan) or 1.0
        self._place = -1
        self._total: int | None = None
        self._done = 0
        # When the stage's steps were first counted, and how many: what a resumed run skips at once
        # says nothing of its speed.
        self._mark: tuple[float, int] | None = None
        self._output, self._outputs = 1, 1
        self._output_begun = self._run_begun = clock()
        self._shown = 0.0

    def begin_output(self, number: int, count: int) -> None:
        """Begin the stages anew for output `number` (from 1) of `count`."""
        self._output, self._outputs = number, count
        self._output_begun = self._clock()
        if number == 1:
            self._run_begun = self._output_begun
        else:
            self._place = -1
        self._total, self._done, self._mark = None, 0, None

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` steps (None: unknown)."""
        self._total, self._done, self._mark = total or None, 0, None
        for place in range(self._place + 1, len(self._plan)):
            planned = self._plan[place][0]
            if name == planned or name.startswith(f"{planned} "):
                self._place = place
                return

    def advance(self, steps: int = 1) -> None:
        """Count `steps` of the stage as done."""
        self._done += steps
        if self._mark is None:
            self._mark = self._clock(), self._done

    @property
    def fraction(self) -> float:
        """How much of the run is done, from 0 to 1; it never falls."""
        before = sum(share for _, share in self._plan[: max(self._place, 0)])
        share = self._plan[self._place][1] if self._place >= 0 else 0.0
        of_output = (before + share * self._of_stage) / self._whole
        done = (self._output - 1 + of_output) / self._outputs
        self._shown = min(1.0, max(self._shown, done))
        return self._shown

    @property
    def seconds_left(self) -> float | None:
        """How long the rest may take; None as long as that is a guess.

        The stage's own speed says how long it goes on. What follows is estimated from the plan,
        and only if it is the smaller part.
        """
        if self._mark is None or self._total is None or self._place < 0:
            return None
        since, first = self._mark
        share = self._plan[self._place][1]
        later = sum(share for _, share in self._plan[self._place + 1 :])
        if self._done <= first or later > share:
            return None
        now = self._clock()
        step = (now - since) / (self._done - first)
        left = max(0, self._total - self._done) * step + later / share * self._total * step
        others = self._outputs - self._output
        if others:
            finished = self._output - 1
            each = (
                (self._output_begun - self._run_begun) / finished
                if finished
                else now - self._output_begun + left
            )
            left += others * each
        return left

    @property
    def _of_stage(self) -> float:
        return min(1.0, self._done / self._total) if self._total else 0.0


def in_words(seconds: float | None) -> str:
    """Return a time left in words: ``about 3 min left``, or nothing where it is None."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"about {minutes} min left"
    # Nobody knows to the minute what takes hours.
    return f"about {hours} h left" if hours >= 10 else f"about {hours} h {rest // 10 * 10} min left"
