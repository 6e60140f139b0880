"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

_LONGEST_S = 1e7  # so that `inf` is no time
_LARGEST_GIB = 1e6
_MOST_THREADS = 1024
# panels of help: each has its own widths of columns, so that names fit into 80
ENGINES = "Ray and Slurm"
_PATIENCE = "Patience"

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file, as in studies/.")]
CategoryOption = Annotated[
    list[str] | None, typer.Option("--category", metavar="C", help="Only this category; may be repeated.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="PostgreSQL URL of the study store; else ANOMALYVFM_OPT_DB_URL, else the embedded database.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="ANOMALYVFM_OPT_DATA",
        help="Folder of categories; else the one stored with the study.",
    ),
]
NewDataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="ANOMALYVFM_OPT_DATA",
        help="Folder of categories; required here, or by the variable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="D", help="auto, cpu, cuda or cuda:N.", envvar="ANOMALYVFM_OPT_DEVICE"),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        envvar="ANOMALYVFM_OPT_WEIGHTS",
        help="Safetensors file with the backbone's weights, where this host has them; else the spec's.",
    ),
]
CacheOption = Annotated[
    float,
    typer.Option(
        "--cache-gib",
        min=0,
        max=_LARGEST_GIB,
        metavar="N",
        envvar="ANOMALYVFM_OPT_CACHE_GIB",
        help="Disk for decoded images, synthetic anomalies and outputs of frozen blocks; 0 keeps none of them.",
    ),
]
GraceOption = Annotated[
    float,
    typer.Option(
        "--grace-s",
        min=1,
        max=_LONGEST_S,
        metavar="SECONDS",
        envvar="ANOMALYVFM_OPT_GRACE_S",
        rich_help_panel=_PATIENCE,
        help="A worker that is silent for so long has lost its trial to another.",
    ),
]
HangOption = Annotated[
    float,
    typer.Option(
        "--hang-s",
        min=1,
        max=_LONGEST_S,
        metavar="SECONDS",
        envvar="ANOMALYVFM_OPT_HANG_S",
        rich_help_panel=_PATIENCE,
        help="A trial that takes no step for so long is given back, and its worker ends.",
    ),
]
DrainSecondsOption = Annotated[
    float,
    typer.Option(
        "--drain-s",
        min=1,
        max=_LONGEST_S,
        metavar="SECONDS",
        envvar="ANOMALYVFM_OPT_DRAIN_S",
        rich_help_panel=_PATIENCE,
        help="A worker that is asked to stop has so long to its trial's next step.",
    ),
]
OutageOption = Annotated[
    float,
    typer.Option(
        "--outage-s",
        min=0,
        max=_LONGEST_S,
        metavar="SECONDS",
        envvar="ANOMALYVFM_OPT_OUTAGE_S",
        rich_help_panel=_PATIENCE,
        help="A database that is away is waited for so long.",
    ),
]
KeepRunningOption = Annotated[bool, typer.Option("--keep-running", help="Wait for new studies instead of ending.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=_MOST_THREADS,
        metavar="N",
        help="CPU threads; else the cores divided by the workers of this host.",
    ),
]
MaxTrialsOption = Annotated[
    int | None, typer.Option("--max-trials", min=1, metavar="N", help="Each worker stops after N trials.")
]
BatchOption = Annotated[
    int, typer.Option("--batch", min=1, max=65_536, metavar="N", help="Images looked at together.")
]
