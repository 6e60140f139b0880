"""Examples at the end of each command's help."""

import typer

PROGRAM = "anomalyvfm-opt"
EXAMPLES = {
    "demo": ("demo", "demo --fresh"),
    "doctor": ("doctor", "doctor --worker --spec mine.yaml --data DIR"),
    "glossary": ("glossary noise", "glossary flat_loss"),
    "data demo": ("data demo images",),
    "data check": ("data check DIR",),
    "data split": ("data split DIR screw --lock half",),
    "spec check": ("spec check mine.yaml",),
    "spec schema": ("spec schema study.json",),
    "spec diff": ("spec diff mine.yaml other.yaml",),
    "db up": ("db up", "db up --listen 10.0.0.5"),
    "db down": ("db down",),
    "db status": ("db status",),
    "db url": ("db url",),
    "db upgrade": ("db upgrade",),
    "db roles": ("db roles --db URL",),
    "study plan": ("study plan mine.yaml --data DIR",),
    "study create": ("study create mine.yaml --data DIR", "study create mine.yaml --data DIR --category screw"),
    "study list": ("study list", "study list mine.yaml"),
    "study show": ("study show mine", "study show mine/screw --json"),
    "study best": ("study best mine/screw", "study best mine/screw --spec"),
    "trial list": ("trial list mine/screw",),
    "trial show": ("trial show mine/screw 7",),
    "study pause": ("study pause mine", "study pause mine/screw --now"),
    "study resume": ("study resume mine",),
    "study stop": ("study stop mine/screw",),
    "study export": ("study export mine/screw -o screw.study.json.gz",),
    "study import": ("study import screw.study.json.gz",),
    "study delete": ("study delete mine/screw",),
    "worker run": ("worker run", "worker run mine --data DIR --device cuda:1"),
    "worker launch": (
        "worker launch mine",
        "worker launch mine --count 4",
        "worker launch --engine slurm --count 8",
    ),
    "worker list": ("worker list",),
    "worker drain": ("worker drain all",),
    "worker reap": ("worker reap",),
    "dashboard": ("dashboard", "dashboard --port 8081"),
    "forecast add": ('forecast add mine/screw 0.01 --note "finer maps"',),
    "forecast list": ("forecast list", "forecast list mine --json"),
    "confirm": ("confirm mine --workers 2", "confirm mine --no-wait"),
    "verdict": ("verdict mine", "verdict mine/screw --exit-code"),
    "model export": ("model export mine/screw detector", "model export mine/screw detector --onnx"),
    "model check": ("model check detector",),
    "predict": ("predict detector IMAGES", "predict detector 'new/*.png' --out results --overlays"),
    "submit": ("submit mine --data DIR --out submission",),
    "submission check": ("submission check submission --data DIR",),
}


def add_examples(app: typer.Typer, path: str = "") -> None:
    """Put its examples behind the help of each command.

    Args:
        app: whose commands are all there.
        path: the words that lead to it.

    Raises:
        KeyError: a command without an example.
    """
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        lines = [f"- `{PROGRAM} {example}`" for example in EXAMPLES[f"{path}{name}"]]
        command.epilog = "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{path}{group.name} ")
