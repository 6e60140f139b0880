"""Where a backbone's weights come from, and the hash that identifies them."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor, nn

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.model.offline_weights import find_offline, read_content, say_without_offline

KEYWORDS = ("pretrained", "offline", "random")  # instead of a file
_HUB_FILE = "model.safetensors"
_HUB_CONNECT_S = 5.0  # for each of the hub's addresses
_HUB_ANSWER_S = 10.0  # for all of them and the name server together
_TO_SAFETENSORS = (
    "python -c \"import torch, safetensors.torch as s; w = torch.load('{given}', 'cpu', weights_only=True);"
    " w = w.get('state_dict', w.get('model', w)); s.save_file({{k: v.contiguous().clone() for k, v in w.items()"
    " if torch.is_tensor(v)}}, '{wanted}')\""
)


def hash_weights(network: nn.Module) -> str:
    """Sha256 over names, shapes and values of a network's parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_offline_weights(name: str, own: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of a model's offline weights under the network's own names.

    Args:
        name: of the model in timm.
        own: the names of all tensors of the network, in its order.

    Raises:
        UsageError: the model has none.
        EnvironmentMissingError: they are not installed, are not the ones that we know, or cannot be read here.
    """
    weights = find_offline(name)
    if weights is None:
        message, hint = say_without_offline(name)
        raise UsageError(f"backbone.weights: {message}", hint)
    given = weights.read_tensors(read_content(weights), own)
    if given.keys() != set(own):
        odd = min(given.keys() ^ set(own))
        raise EnvironmentMissingError(
            f"the offline weights of {name} do not fit the installed timm {version('timm')}: {odd!r} is in one of"
            " them only",
            "install the version of timm that constraints.txt names",
        )
    return given


def resolve_weights(weights: str, base_folder: Path) -> str:
    """Return `backbone.weights` of a spec in `base_folder`: a keyword as it is, a file as an absolute path.

    Symbolic links stay: a file in the hub's cache has its name from one.

    Raises:
        UsageError: `~` of a user whom this host does not know.
    """
    if weights in KEYWORDS:
        return weights
    try:
        path = Path(weights).expanduser()
    except RuntimeError as error:
        raise UsageError(f"backbone.weights: {weights}: {error}") from None
    return str((base_folder / path).absolute())


def find_weights_file(path: Path) -> Path:
    """See that a weights file is there and is a safetensors file; nothing else is read, as it may hold code.

    Raises:
        EnvironmentMissingError: no such file, or not for us to read.
        UsageError: a folder, or not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open_plain(path) as file:
            start = file.read(9)
        with safe_open(path, framework="pt") as tensors:
            names = tensors.keys()
    except FileNotFoundError:
        raise EnvironmentMissingError(
            f"backbone.weights: no such file: {path}", "give pretrained, offline, or a safetensors file"
        ) from None
    except IsADirectoryError:
        raise UsageError(
            f"backbone.weights: {path} is a folder", f"give the file in it, such as {path / _HUB_FILE}"
        ) from None
    except OSError as error:
        raise EnvironmentMissingError(f"backbone.weights: cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise _explain_content(path, start, error) from None
    if not names:
        raise UsageError(f"backbone.weights: {path} holds no tensors")
    return path


def _explain_content(path: Path, start: bytes, error: Exception) -> UsageError:
    """Why a file is no safetensors file, by its first 9 bytes: length of the header (8), then JSON."""
    if not start:
        return UsageError(f"backbone.weights: {path} is empty", "copy or download it again")
    if start[8:] == b"{":
        return UsageError(
            f"backbone.weights: {path} is cut short or damaged: {error}", "copy or download it again"
        )
    if start.startswith((b"PK", b"\x80")):
        wanted = path.with_suffix(".safetensors")
        return UsageError(
            f"backbone.weights: {path} is not a safetensors file but a pickle, which may hold code",
            f"if you trust it, convert it: {_TO_SAFETENSORS.format(given=path, wanted=wanted)}",
        )
    return UsageError(f"backbone.weights: {path} is not a safetensors file: {error}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name; floating ones become float32, so that equal values hash equally.

    Raises:
        EnvironmentMissingError: no such file, or not for us to read.
        UsageError: not a whole safetensors file.
    """
    from safetensors.torch import load_file

    tensors = load_file(find_weights_file(path))
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a safetensors file's tensors by name, from its header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as tensors:
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118


def fetch_weights(name: str, hub_id: str | None) -> Path:
    """Return a model's safetensors file from this host's cache of the Hugging Face hub, else from the hub.

    Args:
        name: the timm model with its weights tag.
        hub_id: of the repository that holds them, None if timm knows none.

    Raises:
        UsageError: timm knows no such weights.
        EnvironmentMissingError: the hub cannot be reached, lacks the file, or keeps it from us.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    if not hub_id:
        raise UsageError(
            f"backbone.weights 'pretrained': timm knows no weights for {name!r}",
            "name a model with a weights tag, or give a safetensors file: --weights FILE",
        )
    cached = try_to_load_from_cache(hub_id, _HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    # the hub's client has had three HTTP libraries; its own error inherits from the root of the present one's
    hub_errors: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError, ValueError)
    try:
        with _hushed_hub():
            _see_that_the_hub_answers(hub_id)
            return Path(hf_hub_download(hub_id, _HUB_FILE))
    except hub_errors as error:
        raise _explain_refusal(name, hub_id, error) from None


def _explain_refusal(name: str, hub_id: str, error: BaseException) -> EnvironmentMissingError:
    """Why there are no weights, and how to come by them: access and a token, or a file from elsewhere."""
    failed = f"the pretrained weights {name} (hub id {hub_id}) cannot be fetched"
    to_file = (
        f"download {_HUB_FILE} of {hub_id} and give it: --weights FILE, or backbone.weights: FILE in the spec"
    )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return EnvironmentMissingError(
            f"{failed}: the hub refuses access (HTTP {status})",
            f"ask for access on the model's page, then set HF_TOKEN or run `hf auth login`; or {to_file}",
        )
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return EnvironmentMissingError(f"{failed}: {reason}", f"where the hub can be reached, {to_file}")


def _see_that_the_hub_answers(hub_id: str) -> None:
    """Ask for the file's size once, within seconds: a download would retry for minutes before it gives up.

    Raises:
        OSError: no answer, or a refusal; other errors of the hub's client likewise.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        raise OSError("it is not in this host's cache, and HF_HUB_OFFLINE is set")
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(hub_id, _HUB_FILE), timeout=_HUB_CONNECT_S)
            outcome.append(None)
        except Exception as error:  # whatever it is, it is raised below, in the caller's thread
            outcome.append(error)

    thread = Thread(target=ask, daemon=True)  # a name server that is silent heeds no timeout
    thread.start()
    thread.join(_HUB_ANSWER_S)
    if not outcome:
        raise OSError(f"the hub did not answer within {_HUB_ANSWER_S:.0f} s")
    if outcome[0]:
        raise outcome[0]


@contextmanager
def _hushed_hub() -> Iterator[None]:
    """Keep the hub's client from printing each of its retries."""
    from huggingface_hub.utils import logging as hub_logging

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
