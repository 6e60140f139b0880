"""The same image twice in a category: a detector that trained on a test image is measured on what it has seen."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from anomalyvfm_opt.data.images import Form
from anomalyvfm_opt.data.records import CategoryImages, ImageRecord

_SHOWN = 4


def find_repeated(forms: Mapping[ImageRecord, Form | None], images: CategoryImages) -> Iterator[str]:
    """Yield one line for each image that is there more than once, with its files and what follows.

    Images are compared by their decoded pixels, so a copy in another format is found as well. Those of one colour
    alone are named by themselves, and left out here.

    Args:
        forms: image -> what was seen of it; None for one that cannot be read.
        images: of the category, by part.
    """
    copies = defaultdict(list)
    for record, form in forms.items():
        if form is not None and form.colour is None:
            copies[form.sha256].append(record)
    parts = {
        record: part
        for part, records in (("train", images.train), ("validation", images.validation), ("test", images.test))
        for record in records
    }
    for records in copies.values():
        if len(records) > 1:
            yield f"{_enumerate(records)} are the same image{_judge(records, parts)}"


def _judge(records: Sequence[ImageRecord], parts: Mapping[ImageRecord, str]) -> str:
    """Return what follows from where the copies of an image lie, worst first."""
    labels = sorted({record.label for record in records}, reverse=True)
    if len(labels) > 1:
        return f", called {' and '.join(labels)}: one of them is wrong"
    found = list(dict.fromkeys(parts[record] for record in records))
    if len(found) > 1:
        return f", in {' and '.join(found)}: two parts must not share one"
    return ": it counts more than once"


def _enumerate(records: Sequence[ImageRecord]) -> str:
    paths = [str(record.path) for record in records[:_SHOWN]]
    rest = len(records) - len(paths)
    return ", ".join(paths) + (f" and {rest} more" if rest else "")
