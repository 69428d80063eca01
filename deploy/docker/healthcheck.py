"""Health check of a container: exit 0 if the service in it answers a request with 200, else 1.

Usage: `python -I -S healthcheck.py PORT "GET /readyz HTTP/1.0"`; for RTSP `"OPTIONS * RTSP/1.0"`.
Imports nothing but sockets: it runs every few seconds in every container.
"""

import socket
import sys

TIMEOUT_S = 3.0


def answers(port: int, request: str) -> bool:
    """Whether the answer's status is 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.sendall(f"{request}\r\nCSeq: 1\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(4096):  # to its end: hanging up early is an error there
                answer += part
            return b" 200 " in answer.partition(b"\r\n")[0] + b" "
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(int(sys.argv[1]), sys.argv[2]) else 1)
