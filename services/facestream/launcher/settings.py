"""Settings of the stack on one machine."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from facestream.common.core.settings import CommonSettings

EMBEDDED = "embedded"


class UpSettings(CommonSettings):
    """What `facestream up` starts, and where it listens."""

    section: ClassVar[str] = "up"

    broker: SecretStr = Field(
        SecretStr(EMBEDDED),
        description="Redis or Valkey by URL: redis://, rediss://, unix://, redis+cluster:// or "
        "redis+sentinel://; "
        f"'{EMBEDDED}' starts one for this stack alone",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="of the parts: debug, info, warning or error"
    )
    model_server_address: str = Field(
        EMBEDDED, description=f"HOST:PORT of TensorFlow Serving's gRPC API; '{EMBEDDED}' starts one"
    )
    host: str = Field(
        "127.0.0.1",
        description="address of the page and the API; 0.0.0.0 for the whole network, which "
        "a link with a token lets in",
    )
    port: int = Field(8080, ge=1, le=65535, description="port of the page and the API")
    https: bool = Field(
        False,
        description="the page by https, with a certificate made for this machine: what phones ask "
        "of a page that wants their camera",
    )
    broker_memory_mb: int = Field(
        256, ge=16, le=65536, description="memory of the embedded broker at most"
    )
    startup_warning_s: float = Field(
        60.0, gt=0, le=3600, description="say what is missing when not ready after so long"
    )
