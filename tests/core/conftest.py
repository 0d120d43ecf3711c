"""What tests of the core share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voxgraft.components.catalogue import Catalogue


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """A batch that is there to be reviewed."""
    from review_batches import make_batch

    return make_batch(tmp_path_factory.mktemp("made"), catalogue)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of which the check has nothing to say."""
    from checked_data import as_decathlon, balls

    return as_decathlon(balls(tmp_path_factory.mktemp("sound")), wall=1, core=2)


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """The batch again, to be changed."""
    from review_batches import copy_of

    return copy_of(made, tmp_path / "batch")


@pytest.fixture(scope="module")
def looked_at(made: Path, catalogue: Catalogue) -> Iterator[Any]:
    """A review in which nothing is decided."""
    from review_batches import opened

    with opened(made, catalogue) as store:
        yield store
