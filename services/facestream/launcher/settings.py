"""Settings of `facestream up`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from facestream.common.core.settings import CommonSettings

EMBEDDED = "embedded"


class UpSettings(CommonSettings):
    """What `facestream up` starts, and where the web UI listens."""

    section: ClassVar[str] = "up"

    broker: SecretStr = Field(
        SecretStr(EMBEDDED),
        description="URL of Redis or Valkey: redis://, rediss://, unix://, redis+cluster:// or "
        f"redis+sentinel://; '{EMBEDDED}' starts a private one",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="log level of the services: debug, info, warning or error"
    )
    model_server_address: str = Field(
        EMBEDDED,
        description=f"HOST:PORT of TensorFlow Serving's gRPC API; '{EMBEDDED}' starts a server",
    )
    host: str = Field(
        "127.0.0.1",
        description="address of the web UI and the API; 0.0.0.0 opens them to the network and "
        "prints a link with an admin token",
    )
    port: int = Field(8080, ge=1, le=65535, description="port of the web UI and the API")
    https: bool = Field(
        False,
        description="serve the web UI by HTTPS with a self-signed certificate; browsers on phones "
        "need HTTPS to use the camera",
    )
    broker_memory_mb: int = Field(
        256, ge=16, le=65536, description="memory limit of the embedded broker, in MB"
    )
    startup_warning_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="print the missing dependencies if not ready after this time, in seconds",
    )
