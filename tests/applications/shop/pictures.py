"""Oscar asks for a maker of thumbnails; this shop shows pictures as they are."""

from typing import Any


class AsTheyAre:
    def generate_thumbnail(self, source: Any, **_options: Any) -> Any:
        return source

    def delete_thumbnails(self, _source: Any) -> None:
        """There are none."""
