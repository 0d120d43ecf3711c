"""What tests of the core share."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft.components.catalogue import Catalogue


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """A batch that is there to be reviewed."""
    from review_batches import make_batch

    return make_batch(tmp_path_factory.mktemp("made"), catalogue)
