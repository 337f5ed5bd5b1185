"""Questions about pictures: a picture file stands where a video would."""

from __future__ import annotations

from pathlib import Path

from vidcausal.benchmarks.annotated import AnnotatedBenchmark
from vidcausal.types import Media


class PictureBenchmark(AnnotatedBenchmark):
    """Finds pictures below ``video_root`` (by default the folder of the annotations)."""

    def pictures(self, *names: str) -> Media:
        """One file a picture, in this order: ``ROOT/NAME`` or ``ROOT/images/NAME``, else the first of these."""
        if self._video_root is not None:
            root = self._video_root
        else:
            path = self.annotations_path
            root = path if path.is_dir() else path.parent
        return Media(videos=tuple(str(_found(root, name)) for name in names))


def _found(root: Path, name: str) -> Path:
    places = [root / name, root / "images" / name]
    return next((place for place in places if place.is_file()), places[0])
