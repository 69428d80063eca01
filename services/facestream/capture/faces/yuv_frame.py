"""A frame's colour planes and what is made of them: face crops, JPEG (the detector's: `fitting`).

A decoded video frame goes in; its three planes (Y at full size, U and V at half) are taken as they
lie in memory, without a copy, and everything else is made from them, only as much as is needed. The
planes stand as the camera sent them; everything that comes out is turned upright. Limited (16-235)
and full range, BT.601 and BT.709 are told apart here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from facestream.common.cameras.models import Rotation
from facestream.common.core.errors import ImageError
from facestream.common.vision.face_alignment import align, source_region
from facestream.common.vision.strip_jpeg import encode_strips

Plane = NDArray[np.uint8]

_PLANAR_420 = {"yuv420p": False, "yuvj420p": True}  # format: full range by its name
_PLANAR_LUMA = ("yuv4", "yuvj4", "nv", "gray")  # names begin so; those of more than 8 bits end else
_AVCOL_RANGE_MPEG = 1
_AVCOL_RANGE_JPEG = 2
_AVCOL_SPC_BT709 = 1

# ITU-R BT.601 and BT.709: the weights of red and blue in luma.
_BT601 = (0.299, 0.114)
_BT709 = (0.2126, 0.0722)
# ITU-R BT.601 §2.5: codes of limited range; (lowest luma, luma steps, chroma steps).
LIMITED = (16.0, 219.0, 224.0)
_FULL = (0.0, 255.0, 255.0)
NEUTRAL = 128.0

CV2_ROTATIONS: dict[int, int] = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@dataclass(frozen=True, slots=True)
class YuvFrame:
    """The planes of one frame.

    y: uint8 `[height, width]`; u, v: uint8 `[ceil(height/2), ceil(width/2)]`, views into the
    decoder's memory. rotate: degrees clockwise that turn it upright; `width` and `height` are those
    of the upright picture.
    """

    y: Plane
    u: Plane
    v: Plane
    rotate: Rotation
    is_full_range: bool
    is_bt709: bool

    @property
    def width(self) -> int:
        return int(self.y.shape[0 if self.rotate in (90, 270) else 1])

    @property
    def height(self) -> int:
        return int(self.y.shape[1 if self.rotate in (90, 270) else 0])


def from_av_frame(frame: av.VideoFrame, rotate: Rotation) -> YuvFrame:
    """The planes of a decoded frame of any pixel format.

    Raises:
        ImageError: its pixel format cannot be converted.
    """
    name = frame.format.name
    is_rgb = frame.format.is_rgb or name.startswith(("gray", "mono", "pal"))
    is_full = frame.color_range == _AVCOL_RANGE_JPEG or name.startswith("yuvj") or is_rgb
    is_bt709 = frame.colorspace == _AVCOL_SPC_BT709 and not is_rgb
    if name not in _PLANAR_420:
        code = _AVCOL_RANGE_JPEG if is_full else _AVCOL_RANGE_MPEG
        try:
            # Only layout and chroma resolution change, not the colours: the same range comes out.
            frame = frame.reformat(
                format="yuv420p", src_color_range=code, dst_color_range=code, threads=1
            )
        except (av.FFmpegError, ValueError) as error:
            raise ImageError(f"pixel format {name} cannot be converted: {error}") from None
    y, u, v = (_plane(plane) for plane in frame.planes)
    return YuvFrame(y, u, v, rotate, is_full, is_bt709)


def luma_of(frame: av.VideoFrame) -> Plane | None:
    """The brightness of a decoded frame as it lies; None where it has no plane of its own."""
    if not frame.format.name.startswith(_PLANAR_LUMA) or frame.format.name.endswith(("le", "be")):
        return None
    return _plane(frame.planes[0])


def face_crop(picture: YuvFrame, landmarks: NDArray[np.float32], size_px: int) -> NDArray[np.uint8]:
    """One face, cut out as the network expects it; only the planes around it are converted.

    Args:
        landmarks: float32 `[5, 2]`, pixels of the upright picture.
        size_px: side of the crop.

    Returns:
        RGB, uint8 `[size_px, size_px, 3]`.

    Raises:
        ValueError: the landmarks are degenerate or the face lies outside the picture.
    """
    x0, y0, x1, y1 = _region_of_face(picture, landmarks)
    region = _region_rgb(picture, *_to_sensor_coords(picture, x0, y0, x1, y1))
    if picture.rotate:
        region = cv2.rotate(region, CV2_ROTATIONS[picture.rotate])
    return align(region, landmarks - np.array([x0, y0], np.float32), size_px)


def copy_face_region(
    picture: YuvFrame, landmarks: NDArray[np.float32]
) -> tuple[YuvFrame, NDArray[np.float32]]:
    """A face in a small picture of its own, copied, and its landmarks there.

    A face that waits to be cut would else keep the decoder's whole frame: 1.4 MB at 720p, 3.1 MB at
    1080p, for each face.

    Raises:
        ValueError: as `face_crop`, which makes the same of it as of the whole picture.
    """
    x0, y0, x1, y1 = _region_of_face(picture, landmarks)
    part = _to_sensor_coords(picture, x0, y0, x1, y1)
    chroma = _chroma(*part)
    apart = replace(
        picture,
        y=picture.y[part[1] : part[3], part[0] : part[2]].copy(),
        u=picture.u[chroma].copy(),
        v=picture.v[chroma].copy(),
    )
    return apart, landmarks - np.array([x0, y0], np.float32)


def _region_of_face(picture: YuvFrame, landmarks: NDArray[np.float32]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = source_region(landmarks, picture.width, picture.height)
    if x1 <= x0 or y1 <= y0:
        raise ValueError("the face lies outside the picture")
    return x0, y0, x1, y1


def face_luma(picture: YuvFrame, box: tuple[float, float, float, float]) -> Plane:
    """The brightness of a box of the upright picture (x, y, w, h), as it lies; may be empty."""
    x, y, w, h = box
    x0, y0 = max(0, int(x)), max(0, int(y))
    x1, y1 = min(picture.width, int(x + w)), min(picture.height, int(y + h))
    if x1 <= x0 or y1 <= y0:
        return picture.y[:0, :0]
    x0, y0, x1, y1 = _to_sensor_coords(picture, x0, y0, x1, y1)
    return picture.y[y0:y1, x0:x1]


def to_jpeg(picture: YuvFrame, quality: int) -> bytes:
    """The whole upright picture as JPEG in strips: full range, BT.601, 4:2:0 (ITU-T T.871)."""
    y, u, v = picture.y, picture.u, picture.v
    if not picture.is_full_range or picture.is_bt709:
        y, u, v = _to_jfif(picture)
    if picture.rotate:
        y, u, v = (cv2.rotate(plane, CV2_ROTATIONS[picture.rotate]) for plane in (y, u, v))
    y, u, v = (np.ascontiguousarray(plane) for plane in (y, u, v))
    return encode_strips(y, u, v, quality).to_jpeg()


def _plane(plane: VideoPlane) -> Plane:
    lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
    whole: Plane = lines[:, : plane.width]
    return whole


def _region_rgb(picture: YuvFrame, x0: int, y0: int, x1: int, y1: int) -> Plane:
    size = (x1 - x0, y1 - y0)
    cut = _chroma(x0, y0, x1, y1)
    # Chroma back to full size as decoders do it: two by two pixels share a sample.
    u, v = (
        cv2.resize(plane[cut], size, interpolation=cv2.INTER_LINEAR)
        for plane in (picture.u, picture.v)
    )
    matrix = _RGB_MATRIX[picture.is_full_range, picture.is_bt709]
    region: Plane = cv2.transform(cv2.merge((picture.y[y0:y1, x0:x1], u, v)), matrix)
    return region


def _chroma(x0: int, y0: int, x1: int, y1: int) -> tuple[slice, slice]:
    """Where a rectangle of the brightness lies in the planes of colour."""
    return np.s_[y0 // 2 : (y1 + 1) // 2, x0 // 2 : (x1 + 1) // 2]


def _to_jfif(picture: YuvFrame) -> tuple[Plane, Plane, Plane]:
    """The same planes in full range and BT.601."""
    matrix = _JFIF_MATRIX[picture.is_full_range, picture.is_bt709]
    u = cv2.addWeighted(picture.u, matrix[1, 1], picture.v, matrix[1, 2], matrix[1, 3])
    v = cv2.addWeighted(picture.u, matrix[2, 1], picture.v, matrix[2, 2], matrix[2, 3])
    if not picture.is_bt709:
        y = cv2.addWeighted(picture.y, matrix[0, 0], picture.y, 0, matrix[0, 3])
    else:
        # BT.601 weighs colours differently: what chroma adds to luma, held around the middle.
        shift = NEUTRAL * (1 - matrix[0, 1] - matrix[0, 2])
        added = cv2.addWeighted(picture.u, matrix[0, 1], picture.v, matrix[0, 2], shift)
        height, width = picture.y.shape
        added = cv2.resize(added, (width, height), interpolation=cv2.INTER_NEAREST)
        y = cv2.addWeighted(picture.y, matrix[0, 0], added, 1, matrix[0, 3] - shift)
    return y, u, v


def _to_sensor_coords(
    picture: YuvFrame, x0: int, y0: int, x1: int, y1: int
) -> tuple[int, int, int, int]:
    """Where a rectangle of the upright picture lies in the planes."""
    if picture.rotate == 90:
        return y0, picture.width - x1, y1, picture.width - x0
    if picture.rotate == 180:
        return picture.width - x1, picture.height - y1, picture.width - x0, picture.height - y0
    if picture.rotate == 270:
        return picture.height - y1, x0, picture.height - y0, x1
    return x0, y0, x1, y1


def _to_rgb_matrix(is_full: bool, is_bt709: bool) -> NDArray[np.float64]:
    """`[3, 4]`: multiply `[Y, Cb, Cr, 1]` by it to get red, green, blue in 0-255.

    Inverse of E'Y = Kr R + (1 - Kr - Kb) G + Kb B, Cb = (B - Y) / (2 - 2 Kb),
    Cr = (R - Y) / (2 - 2 Kr).
    """
    red, blue = _BT709 if is_bt709 else _BT601
    low, luma, chroma = _FULL if is_full else LIMITED
    green = 1 - red - blue
    y, c = 255 / luma, 255 / chroma
    matrix = np.array(
        [
            [y, 0, c * 2 * (1 - red)],
            [y, -c * 2 * (1 - blue) * blue / green, -c * 2 * (1 - red) * red / green],
            [y, c * 2 * (1 - blue), 0],
        ]
    )
    return np.hstack([matrix, -matrix @ np.array([[low], [NEUTRAL], [NEUTRAL]])])


def _square(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0, 0, 0, 1]])


_KINDS = [(is_full, is_bt709) for is_full in (False, True) for is_bt709 in (False, True)]
_RGB_MATRIX = {kind: _to_rgb_matrix(*kind) for kind in _KINDS}
# From any kind through RGB to what JFIF holds: full range, BT.601.
_JFIF_MATRIX = {
    kind: np.linalg.inv(_square(_to_rgb_matrix(True, False))) @ _square(_to_rgb_matrix(*kind))
    for kind in _KINDS
}
