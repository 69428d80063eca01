from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Track(_message.Message):
    __slots__ = ("track", "x", "y", "w", "h", "score", "first_detected_us", "last_detected_us")
    TRACK_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    W_FIELD_NUMBER: _ClassVar[int]
    H_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    FIRST_DETECTED_US_FIELD_NUMBER: _ClassVar[int]
    LAST_DETECTED_US_FIELD_NUMBER: _ClassVar[int]
    track: int
    x: float
    y: float
    w: float
    h: float
    score: float
    first_detected_us: int
    last_detected_us: int
    def __init__(self, track: _Optional[int] = ..., x: _Optional[float] = ..., y: _Optional[float] = ..., w: _Optional[float] = ..., h: _Optional[float] = ..., score: _Optional[float] = ..., first_detected_us: _Optional[int] = ..., last_detected_us: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("camera", "session", "seq", "captured_us", "width", "height", "detected", "tracks")
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_US_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DETECTED_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    camera: str
    session: int
    seq: int
    captured_us: int
    width: int
    height: int
    detected: bool
    tracks: _containers.RepeatedCompositeFieldContainer[Track]
    def __init__(self, camera: _Optional[str] = ..., session: _Optional[int] = ..., seq: _Optional[int] = ..., captured_us: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., detected: _Optional[bool] = ..., tracks: _Optional[_Iterable[_Union[Track, _Mapping]]] = ...) -> None: ...

class FaceCrop(_message.Message):
    __slots__ = ("camera", "session", "track", "captured_us", "published_us", "quality", "size_px")
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_US_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_US_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    camera: str
    session: int
    track: int
    captured_us: int
    published_us: int
    quality: float
    size_px: int
    def __init__(self, camera: _Optional[str] = ..., session: _Optional[int] = ..., track: _Optional[int] = ..., captured_us: _Optional[int] = ..., published_us: _Optional[int] = ..., quality: _Optional[float] = ..., size_px: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("camera", "session", "track", "captured_us", "inferred_us", "quality", "age", "age_std", "female", "age_distribution", "model", "model_version")
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_US_FIELD_NUMBER: _ClassVar[int]
    INFERRED_US_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    AGE_STD_FIELD_NUMBER: _ClassVar[int]
    FEMALE_FIELD_NUMBER: _ClassVar[int]
    AGE_DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    camera: str
    session: int
    track: int
    captured_us: int
    inferred_us: int
    quality: float
    age: float
    age_std: float
    female: float
    age_distribution: bytes
    model: str
    model_version: int
    def __init__(self, camera: _Optional[str] = ..., session: _Optional[int] = ..., track: _Optional[int] = ..., captured_us: _Optional[int] = ..., inferred_us: _Optional[int] = ..., quality: _Optional[float] = ..., age: _Optional[float] = ..., age_std: _Optional[float] = ..., female: _Optional[float] = ..., age_distribution: _Optional[bytes] = ..., model: _Optional[str] = ..., model_version: _Optional[int] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("face", "deliveries", "reason")
    FACE_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    face: FaceCrop
    deliveries: int
    reason: str
    def __init__(self, face: _Optional[_Union[FaceCrop, _Mapping]] = ..., deliveries: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
