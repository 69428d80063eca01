"""YUV planes of a decoded frame, and the face crops and JPEGs cut from them.

The three planes (Y at full size, U and V at half) are views into the decoder's memory. Only the
region that a crop needs is converted. Planes keep the orientation of the sensor; every crop and
JPEG is rotated upright. This is the only module that distinguishes limited (16-235) from full
range, and BT.601 from BT.709. The detector's input is in `detector_input`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError
from facestream.common.core.frame_limits import Rotation
from facestream.common.vision.face_alignment import align, source_region
from facestream.common.vision.source_frame import FrameGeometry
from facestream.common.vision.strip_jpeg import encode_strips

Plane = NDArray[np.uint8]

_PLANAR_420 = ("yuv420p", "yuvj420p")
_LUMA_PLANE_PREFIXES = ("yuv4", "yuvj4", "nv", "gray")
_DEEP_SUFFIXES = ("le", "be")  # of formats with more than 8 bits, by byte order
_AVCOL_RANGE_MPEG = 1
_AVCOL_RANGE_JPEG = 2
_AVCOL_SPC_BT709 = 1

# ITU-R BT.601 and BT.709: the weights of red and blue in luma.
_BT601 = (0.299, 0.114)
_BT709 = (0.2126, 0.0722)
# ITU-R BT.601 §2.5: limited range as (lowest luma, luma steps, chroma steps).
LIMITED = (16.0, 219.0, 224.0)
_FULL = (0.0, 255.0, 255.0)
NEUTRAL = 128.0
_MIN_INTERLACED_ROWS = 4  # a field of less has no chroma

CV2_ROTATIONS: dict[int, int] = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@dataclass(frozen=True, slots=True)
class YuvFrame:
    """YUV planes of one frame.

    y: uint8 `[height, width]`; u, v: uint8 `[ceil(height/2), ceil(width/2)]`, views into the
    decoder's memory. rotate: degrees clockwise that turn it upright. `width` and `height` are those
    of the upright frame.
    """

    y: Plane
    u: Plane
    v: Plane
    rotate: Rotation
    is_full_range: bool
    is_bt709: bool

    @property
    def width(self) -> int:
        """Width of the upright frame in pixels."""
        return int(self.y.shape[0 if self.rotate in (90, 270) else 1])

    @property
    def height(self) -> int:
        """Height of the upright frame in pixels."""
        return int(self.y.shape[1 if self.rotate in (90, 270) else 0])


def from_av_frame(av_frame: av.VideoFrame, geometry: FrameGeometry | Rotation) -> YuvFrame:
    """Return the planes of a decoded frame of any pixel format, without a copy where possible.

    They have square pixels and one field. Of an interlaced frame the first field is kept and
    stretched: half the rows cost less than a filter over several frames, and a face needs no more.

    Args:
        av_frame: as decoded.
        geometry: how to display it, or only the degrees clockwise that turn it upright.

    Raises:
        ImageError: the pixel format cannot be converted.
    """
    name = av_frame.format.name
    is_rgb = av_frame.format.is_rgb or name.startswith(("gray", "mono", "pal"))
    is_full_range = av_frame.color_range == _AVCOL_RANGE_JPEG or name.startswith("yuvj") or is_rgb
    is_bt709 = av_frame.colorspace == _AVCOL_SPC_BT709 and not is_rgb
    if name not in _PLANAR_420:
        code = _AVCOL_RANGE_JPEG if is_full_range else _AVCOL_RANGE_MPEG
        try:
            # Change layout and chroma resolution only: the color range stays the same.
            av_frame = av_frame.reformat(
                format="yuv420p", src_color_range=code, dst_color_range=code, threads=1
            )
        except (av.FFmpegError, ValueError) as error:
            raise ImageError(f"cannot convert pixel format {name}: {error}") from None
    if not isinstance(geometry, FrameGeometry):
        geometry = FrameGeometry(geometry)
    y, u, v = _to_square_pixels([_plane(plane) for plane in av_frame.planes], geometry)
    return YuvFrame(y, u, v, geometry.rotate, is_full_range, is_bt709)


def _to_square_pixels(planes: list[Plane], geometry: FrameGeometry) -> list[Plane]:
    """Deinterlace, scale and mirror the planes; unchanged if the geometry requires none of it."""
    height, width = planes[0].shape
    stored = geometry.stored_size(width, height)
    if geometry.is_interlaced and height >= _MIN_INTERLACED_ROWS:
        planes = [plane[::2] for plane in planes]
    if planes[0].shape[::-1] != stored:
        half = ((stored[0] + 1) // 2, (stored[1] + 1) // 2)
        planes = [
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.uint8)
            for plane, size in zip(planes, (stored, half, half), strict=True)
        ]
    if geometry.is_mirrored:
        planes = [np.asarray(cv2.flip(plane, 1), np.uint8) for plane in planes]
    return planes


def luma_of(av_frame: av.VideoFrame) -> Plane | None:
    """Return the luma of a decoded frame, not rotated; None if it has no 8-bit luma plane."""
    name = av_frame.format.name
    if not name.startswith(_LUMA_PLANE_PREFIXES) or name.endswith(_DEEP_SUFFIXES):
        return None
    return _plane(av_frame.planes[0])


def face_crop(frame: YuvFrame, landmarks: NDArray[np.float32], size_px: int) -> NDArray[np.uint8]:
    """Cut the aligned crop of one face; only the region around it is converted.

    Args:
        frame: to cut from.
        landmarks: float32 `[5, 2]`, pixels of the upright frame.
        size_px: side of the crop.

    Returns:
        RGB, uint8 `[size_px, size_px, 3]`.

    Raises:
        ValueError: the landmarks are degenerate or the face lies outside the frame.
    """
    x0, y0, x1, y1 = _region_of_face(frame, landmarks)
    region = _region_rgb(frame, *_to_sensor_coords(frame, x0, y0, x1, y1))
    if frame.rotate:
        region = cv2.rotate(region, CV2_ROTATIONS[frame.rotate])
    return align(region, landmarks - np.array([x0, y0], np.float32), size_px)


def copy_face_region(
    frame: YuvFrame, landmarks: NDArray[np.float32]
) -> tuple[YuvFrame, NDArray[np.float32]]:
    """Copy the region of one face into a small frame; return it with the landmarks in it.

    A candidate that waits for its turn would otherwise hold the decoder's frame: 1.4 MB at 720p,
    3.1 MB at 1080p, for each face. `face_crop` cuts the same crop from the copy as from the frame.

    Raises:
        ValueError: the landmarks are degenerate or the face lies outside the frame.
    """
    x0, y0, x1, y1 = _region_of_face(frame, landmarks)
    left, top, right, bottom = _to_sensor_coords(frame, x0, y0, x1, y1)
    chroma = _chroma_slices(left, top, right, bottom)
    region = replace(
        frame,
        y=frame.y[top:bottom, left:right].copy(),
        u=frame.u[chroma].copy(),
        v=frame.v[chroma].copy(),
    )
    return region, landmarks - np.array([x0, y0], np.float32)


def _region_of_face(frame: YuvFrame, landmarks: NDArray[np.float32]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = source_region(landmarks, frame.width, frame.height)
    if x1 <= x0 or y1 <= y0:
        raise ValueError("the face lies outside the frame")
    return x0, y0, x1, y1


def face_luma(frame: YuvFrame, box: tuple[float, float, float, float]) -> Plane:
    """Return the luma in a box (x, y, w, h) of the upright frame, not rotated; may be empty."""
    x, y, w, h = box
    x0, y0 = max(0, int(x)), max(0, int(y))
    x1, y1 = min(frame.width, int(x + w)), min(frame.height, int(y + h))
    if x1 <= x0 or y1 <= y0:
        return frame.y[:0, :0]
    x0, y0, x1, y1 = _to_sensor_coords(frame, x0, y0, x1, y1)
    return frame.y[y0:y1, x0:x1]


def to_jpeg(frame: YuvFrame, quality: int) -> bytes:
    """Encode the upright frame as a JPEG in strips: full range, BT.601, 4:2:0 (ITU-T T.871)."""
    y, u, v = frame.y, frame.u, frame.v
    if not frame.is_full_range or frame.is_bt709:
        y, u, v = _to_jfif(frame)
    if frame.rotate:
        y, u, v = (cv2.rotate(plane, CV2_ROTATIONS[frame.rotate]) for plane in (y, u, v))
    y, u, v = (np.ascontiguousarray(plane) for plane in (y, u, v))
    return encode_strips(y, u, v, quality).to_jpeg()


def _plane(plane: VideoPlane) -> Plane:
    lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
    pixels: Plane = lines[:, : plane.width]  # lines are padded
    return pixels


def _region_rgb(frame: YuvFrame, x0: int, y0: int, x1: int, y1: int) -> Plane:
    size = (x1 - x0, y1 - y0)
    chroma = _chroma_slices(x0, y0, x1, y1)
    # Upsample chroma as decoders do: 2 × 2 pixels share a sample.
    u, v = (
        cv2.resize(plane[chroma], size, interpolation=cv2.INTER_LINEAR)
        for plane in (frame.u, frame.v)
    )
    matrix = _RGB_MATRIX[frame.is_full_range, frame.is_bt709]
    region: Plane = cv2.transform(cv2.merge((frame.y[y0:y1, x0:x1], u, v)), matrix)
    return region


def _chroma_slices(x0: int, y0: int, x1: int, y1: int) -> tuple[slice, slice]:
    """Return the part of the chroma planes that covers a rectangle of the luma plane."""
    return np.s_[y0 // 2 : (y1 + 1) // 2, x0 // 2 : (x1 + 1) // 2]


def _to_jfif(frame: YuvFrame) -> tuple[Plane, Plane, Plane]:
    """Convert the planes to full range and BT.601, as JFIF requires."""
    matrix = _JFIF_MATRIX[frame.is_full_range, frame.is_bt709]
    u = cv2.addWeighted(frame.u, matrix[1, 1], frame.v, matrix[1, 2], matrix[1, 3])
    v = cv2.addWeighted(frame.u, matrix[2, 1], frame.v, matrix[2, 2], matrix[2, 3])
    if not frame.is_bt709:
        y = cv2.addWeighted(frame.y, matrix[0, 0], frame.y, 0, matrix[0, 3])
    else:
        # BT.601 weighs colors differently. The chroma term is centered so that it fits into 8 bits.
        shift = NEUTRAL * (1 - matrix[0, 1] - matrix[0, 2])
        added = cv2.addWeighted(frame.u, matrix[0, 1], frame.v, matrix[0, 2], shift)
        height, width = frame.y.shape
        added = cv2.resize(added, (width, height), interpolation=cv2.INTER_NEAREST)
        y = cv2.addWeighted(frame.y, matrix[0, 0], added, 1, matrix[0, 3] - shift)
    return y, u, v


def _to_sensor_coords(
    frame: YuvFrame, x0: int, y0: int, x1: int, y1: int
) -> tuple[int, int, int, int]:
    """Convert a rectangle of the upright frame to the orientation of the planes."""
    if frame.rotate == 90:
        return y0, frame.width - x1, y1, frame.width - x0
    if frame.rotate == 180:
        return frame.width - x1, frame.height - y1, frame.width - x0, frame.height - y0
    if frame.rotate == 270:
        return frame.height - y1, x0, frame.height - y0, x1
    return x0, y0, x1, y1


def _to_rgb_matrix(is_full_range: bool, is_bt709: bool) -> NDArray[np.float64]:
    """Return the `[3, 4]` matrix from `[Y, Cb, Cr, 1]` to red, green, blue in 0-255.

    Inverse of E'Y = Kr R + (1 - Kr - Kb) G + Kb B, Cb = (B - Y) / (2 - 2 Kb),
    Cr = (R - Y) / (2 - 2 Kr).
    """
    red, blue = _BT709 if is_bt709 else _BT601
    low, luma, chroma = _FULL if is_full_range else LIMITED
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


def _homogeneous(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0, 0, 0, 1]])


_KINDS = [(is_full, is_bt709) for is_full in (False, True) for is_bt709 in (False, True)]
_RGB_MATRIX = {kind: _to_rgb_matrix(*kind) for kind in _KINDS}
# From each kind, by way of RGB, to the kind that JFIF holds: full range, BT.601.
_JFIF_MATRIX = {
    kind: np.linalg.inv(_homogeneous(_to_rgb_matrix(True, False)))
    @ _homogeneous(_to_rgb_matrix(*kind))
    for kind in _KINDS
}
