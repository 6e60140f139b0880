"""The specs that come with the program are found, and one that does not is said."""

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.spec.shipped import find_shipped


def test_a_shipped_spec_is_found() -> None:
    assert find_shipped("demo.yaml").is_file()


def test_one_that_the_installation_lacks_is_named() -> None:
    with pytest.raises(EnvironmentMissingError, match=r"none\.yaml is not part of this installation"):
        find_shipped("none.yaml")
