"""Check the health of a container: exit 0 if its service responds with status 200, else 1.

Usage: `python -I -S healthcheck.py PORT "GET /readyz HTTP/1.0"`; for RTSP `"OPTIONS * RTSP/1.0"`.
Imports only sockets: it runs every 10 s in every container.
"""

import socket
import sys

TIMEOUT_S = 3.0


def is_healthy(port: int, request: str) -> bool:
    """Return whether the response status is 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.sendall(f"{request}\r\nCSeq: 1\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            response = b""
            while part := connection.recv(
                4096
            ):  # read all: closing early is an error in the server
                response += part
            return b" 200 " in response.partition(b"\r\n")[0] + b" "
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(int(sys.argv[1]), sys.argv[2]) else 1)
