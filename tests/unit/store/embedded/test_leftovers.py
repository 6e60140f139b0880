"""What a killed `create` left of a cluster is removed, and nothing beside it."""

from pathlib import Path

from anomalyvfm_opt.store.embedded.cluster import Cluster


def test_only_real_folders_under_our_own_names_are_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    home = tmp_path / "postgres"
    for folder in (theirs, home / "data.new-backup", home / "data.new-0123abcd", home / "data.new-0123abcd0"):
        folder.mkdir(parents=True)
        (folder / "PG_VERSION").write_text("18")
    (home / "data.new-00000000").symlink_to(theirs)
    Cluster(home)._remove_leftovers()
    assert sorted(path.name for path in home.iterdir()) == [
        "data.new-00000000",
        "data.new-0123abcd0",
        "data.new-backup",
    ]
    assert (theirs / "PG_VERSION").exists()
