"""What tests of whole releases that change the sample's sources start from."""

from collections.abc import Iterator

import pytest

from tests.place import Place


@pytest.fixture
def before(place: Place) -> Iterator[int]:
    """The release that is live; afterwards the Dockerfile is as it was."""
    kept = (place.repository / "Dockerfile").read_text()
    yield place.well()
    (place.repository / "Dockerfile").write_text(kept)
    place.commit()
