"""What `study create` and `study plan` begin with: a sound spec, and the division of each category's images.

Torch is imported last of all, so that a mistake in a path or a folder is answered at once.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anomalyvfm_opt.data.layout import list_categories, read_category
from anomalyvfm_opt.data.names import find_name, find_twins
from anomalyvfm_opt.data.split import Split, divide
from anomalyvfm_opt.errors import SpecError, UsageError
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.home import locate_outlines


def read_spec(file: Path, data: Path | None, categories: Sequence[str]) -> tuple[Spec, Path]:
    """Return the spec of a file, and the folder of its images.

    1. The spec's mistakes, all of them, those against the backbone's limits included.
    2. The data folder and its division, which need no torch.
    3. The backbone's limits, where all else is sound.

    Args:
        file: the spec; a relative path of a weights file in it starts from its folder.
        data: folder of categories.
        categories: a choice among the spec's; empty for all.

    Raises:
        SpecError: with all mistakes of the spec.
        UsageError: no folder is named, or no such category.
        BadDataError: a category cannot be divided.
        EnvironmentMissingError: the folder is not there.
    """
    try:
        spec = load_spec(file)
    except SpecError:
        _check_limits(file)
        raise
    if data is None:
        raise UsageError(
            f"{file} names no images: that is said for each host", "give --data DIR, or set ANOMALYVFM_OPT_DATA"
        )
    divide_categories(spec, expand_home(data).resolve(), categories)
    return _check_limits(file), data


def _check_limits(file: Path) -> Spec:
    from anomalyvfm_opt.model.limits import find_limits_problems
    from anomalyvfm_opt.model.weights import resolve_weights

    spec = load_spec(file, partial(find_limits_problems, folder=locate_outlines()))
    weights = resolve_weights(spec.backbone.weights, file.parent)  # workers start in other folders
    return spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"weights": weights})})


def divide_categories(spec: Spec, root: Path, categories: Sequence[str]) -> dict[str, Split]:
    """Return the division of each category, by name.

    Raises:
        UsageError: a category that the spec does not list, or that is not in the folder.
        BadDataError: one that cannot be divided.
        EnvironmentMissingError: the folder is not there.
    """
    names = choose_categories(spec, root, categories)
    return {name: divide(read_category(root, name), spec.data.lock) for name in names}


def choose_categories(spec: Spec, root: Path, categories: Sequence[str]) -> list[str]:
    """Return the categories of a spec in a folder, or a choice among them.

    Raises:
        UsageError: one that the spec does not list, or the same one in two Unicode forms.
        EnvironmentMissingError: the folder is not there.
    """
    known = list_categories(root)
    listed = known if spec.data.categories == "all" else list(spec.data.categories)
    if spec.data.categories != "all":
        for category in categories:
            if find_name(category, listed) is None:
                raise UsageError(
                    f"category {category!r} is not in spec {spec.name!r}", f"it lists {', '.join(listed)}"
                )
    chosen = list(dict.fromkeys(categories)) or listed
    twins = find_twins(chosen if spec.data.categories != "all" else [*known, *chosen])
    if twins:
        raise UsageError(
            f"category {twins[0]!r} is there twice, in two Unicode forms (NFC and NFD), which look the same",
            f"rename or remove one of its folders in {root}, and name it once",
        )
    return chosen
