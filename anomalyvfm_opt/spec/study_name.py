"""Names of studies: `<spec>/<category>`, and beside it the siblings that only retrain with other seeds.

The one place that knows how they are spelled: everybody else builds and reads them here.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args

from anomalyvfm_opt.spec.shown import show_value

Kind = Literal["search", "replicates", "confirm"]

_SLASH, _MARK = "/", "#"
SIBLINGS_LIKE = f"%{_MARK}%"  # what SQL's LIKE finds in the names of siblings alone
CONFIRM_LIKE = f"%{_MARK}confirm"  # likewise of confirmations


@dataclass(frozen=True)
class StudyName:
    """A study's name in its parts; `str()` puts it together.

    Args:
        spec: the spec's name.
        category: the product's.
        kind: `search` chooses parameters; `replicates` retrains chosen ones with more seeds on search data;
            `confirm` judges them on the locked images.
    """

    spec: str
    category: str
    kind: Kind = "search"

    def __str__(self) -> str:
        suffix = "" if self.kind == "search" else f"{_MARK}{self.kind}"
        return f"{self.spec}{_SLASH}{self.category}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a name.

        Raises:
            ValueError: it is no study's name.
        """
        family, mark, kind = text.partition(_MARK)
        spec, slash, category = family.partition(_SLASH)
        kind = kind if mark else "search"
        if not (spec and slash and category) or kind not in get_args(Kind) or (mark and kind == "search"):
            raise ValueError(
                f"{show_value(text)} is no study's name: <spec>/<category>, or that with #replicates or #confirm"
            )
        return cls(spec, category, cast(Kind, kind))

    @property
    def family(self) -> str:
        """The name of the study that searches, which its siblings stand beside."""
        return str(replace(self, kind="search"))

    def sibling(self, kind: Kind) -> Self:
        """Return the study of the same spec and category that does something else."""
        return replace(self, kind=kind)

    @property
    def siblings(self) -> tuple[Self, ...]:
        """The studies that may stand beside the one that searches."""
        return tuple(self.sibling(kind) for kind in get_args(Kind) if kind != "search")


def is_category_name(text: str) -> bool:
    """Return whether a study's name can be put together with that category, and taken apart again."""
    name = f"any{_SLASH}{text}"
    try:
        return StudyName.parse(name) == StudyName("any", text)
    except ValueError:
        return False


def is_sibling_of(name: str, family: str) -> bool:
    """Return whether a name, which need not be one of ours, is that of a study beside another."""
    return name.startswith(f"{family}{_MARK}")


def is_search_of(name: str, spec: str) -> bool:
    """Return whether a name, which need not be one of ours, is that of a study that searches for a spec."""
    try:
        found = StudyName.parse(name)
    except ValueError:
        return False
    return found.spec == spec and found.kind == "search"


def guess_spec(text: str) -> str:
    """Return what somebody who typed this, which need not be a study's name, may have meant as the spec's."""
    return text.partition(_SLASH)[0]
