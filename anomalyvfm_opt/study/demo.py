"""The demo's studies: made from a spec of this program's on images that it brings, and deleted to start anew."""

from collections.abc import Callable
from pathlib import Path

from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.study_name import is_search_of
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import delete_study, list_names
from anomalyvfm_opt.study.creation import create_studies


def choose_category(spec: Spec, category: str) -> Spec:
    """Return a spec of its own for one category, whose mean is not over three."""
    content = spec.content()
    content["data"]["categories"] = [category]
    return type(spec).model_validate({**content, "name": f"{spec.name}_quick"})


def prepare_demo(store: Store, spec: Spec, folder: Path, say: Callable[[str], None]) -> None:
    """Write the demo's images and create its studies; what is there already stays.

    Args:
        store: the study store.
        spec: of the studies.
        folder: for the images.
        say: told of each step.

    Raises:
        UsageError: the studies that are there are of another spec or other images.
    """
    write_demo(folder)
    try:
        create_studies(store, spec, folder, [], say=say)
    except UsageError as error:
        raise UsageError(error.message, "anomalyvfm-opt demo --fresh starts anew") from None


def delete_searches(store: Store, name: str) -> None:
    """Delete all studies of a spec by its name, with their siblings."""
    for study in list_names(store.engine):
        if is_search_of(study, name):  # siblings go with it
            delete_study(store, study)
