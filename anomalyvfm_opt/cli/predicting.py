"""`predict`: what a detector's folder says of images."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.model import FolderArgument
from anomalyvfm_opt.cli.options import BatchOption, DeviceOption, WeightsOption
from anomalyvfm_opt.cli.output import escape, say
from anomalyvfm_opt.words import counted

_TELL_S = 10.0  # between two lines of progress


def predict(
    folder: FolderArgument,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="Files, folders, patterns, or - for a list on stdin.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write scores.csv and pictures there.")
    ] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Raw maps (float32 TIFF), at the images' size.")] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Heat over the images (PNG).")] = False,
    masks: Annotated[bool, typer.Option("--masks", help="Pixels above the threshold (PNG).")] = False,
    false_positives: Annotated[
        float | None,
        typer.Option("--false-positives", metavar="A", help="Another share of normals than the folder promises."),
    ] = None,
    batch: BatchOption = 32,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Score images by a detector's folder; no database is needed.

    A line an image: raw score, p_normal (how likely a normal scene scores as high), verdict, file. A file that
    cannot be read is named and skipped; the exit code is 2 then. Masks in folders `ground_truth` are left out.
    """
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.inference.file_predictions import predict_files
    from anomalyvfm_opt.inference.listing import MAPS, MASKS, OVERLAYS, LeftOut, list_files
    from anomalyvfm_opt.inference.results import Results, check_unused
    from anomalyvfm_opt.inference.standalone import StandaloneDetector
    from anomalyvfm_opt.signals import end_as_interrupted

    wanted = frozenset(
        name for name, is_wanted in ((MAPS, maps), (OVERLAYS, overlays), (MASKS, masks)) if is_wanted
    )
    if wanted and out is None:
        raise UsageError(f"--{min(wanted)} needs a folder to write to", "give one: --out FOLDER")
    if out is not None and out.resolve() == folder.resolve():
        raise UsageError(f"--out {out} is the detector's own folder", "give another one")
    if out is not None:
        check_unused(out)  # before the detector is loaded, which takes seconds
    end_as_interrupted()
    with StandaloneDetector(
        folder, weights=weights, device=device, batch=batch, false_positives=false_positives
    ) as detector:
        if detector.thresholds.refused:
            if masks:
                raise UsageError(f"no masks: {detector.thresholds.refused}", "allow more: --false-positives A")
            say(f"no verdicts: {detector.thresholds.refused}; allow more by --false-positives A")
        results = Results(out, wanted, detector.heat_scale)
        progress, left_out = _Progress(), LeftOut()
        with results.opened():
            for answered in predict_files(detector, list_files(images, sys.stdin.buffer, out, left_out)):
                if answered.prediction is None:
                    say(f"skipped: {answered.problem}")
                    progress.skip(str(answered.listed.path))
                    continue
                for note in answered.prediction.notes:
                    say(f"warning: {answered.prediction.image} {note}")
                progress.note(answered.prediction.notes)
                paths = results.write(answered)
                where = str(out / paths[MAPS]) if out and MAPS in paths else None
                typer.echo(_show(answered.prediction.to_json() | {"map": where}, as_json))
                progress.tell()
    for line in left_out.describe():
        say(f"note: {line}")
    progress.end()


class _Progress:
    """Counts images, and says now and then how fast they go."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._done = 0
        self._skipped: list[str] = []
        self._skips = 0
        self._noted = 0

    def skip(self, name: str) -> None:
        """Count one that could not be read."""
        self._skips += 1
        self._skipped = self._skipped or [name]

    def note(self, notes: Sequence[str]) -> None:
        """Count one of which something odd was said, if anything was."""
        self._noted += bool(notes)

    def tell(self) -> None:
        """Count one that was read."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            say(self._describe())

    def end(self) -> None:
        """Say what came of it.

        Raises:
            UsageError: images could not be read.
        """
        from anomalyvfm_opt.errors import UsageError

        say(self._describe())
        if self._noted:
            say(f"of them with a warning, above: {counted(self._noted, 'image')}")
        if self._skips:
            listed = counted(self._skips + self._done, "image")
            raise UsageError(
                f"{self._skips} of {listed} could not be read, first {self._skipped[0]}",
                "the others have their scores" if self._done else "",
            )

    def _describe(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        return f"{counted(self._done, 'image')} in {seconds:.1f} s: {self._done / seconds:.1f} images per second"


def _show(answer: dict[str, object], as_json: bool) -> str:
    """Return a prediction as a line, of JSON or for people."""
    if as_json:
        import json

        return json.dumps(answer)
    verdict = {True: "anomalous", False: "normal", None: "-"}[answer["is_anomalous"]]  # type: ignore[index]
    image = escape(str(answer["image"]), sys.stdout.encoding)
    return f"{answer['score']:>12.6g}  p={answer['p_normal']:.3f}  {verdict:<9}  {image}"
