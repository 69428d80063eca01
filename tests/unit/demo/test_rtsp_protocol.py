from __future__ import annotations

import pytest
from facestream.demo.rtsp_protocol import (
    Transport,
    format_response,
    parse_basic_credentials,
    parse_request,
    parse_transport,
)


def test_request_is_parsed() -> None:
    request = parse_request("SETUP rtsp://h:8554/a/b/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nX-y: z: w")
    assert request.method == "SETUP"
    assert request.path == "a/b"
    assert request.headers == {"cseq": "3", "x-y": "z: w"}


@pytest.mark.parametrize("text", ["", "GET / HTTP/1.1", "PLAY", "\x00\x01"])
def test_invalid_request_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not an RTSP request"):
        parse_request(text)


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3", Transport(channel=2)),
        ("RTP/AVP;unicast;client_port=5000-5001", Transport(udp_ports=(5000, 5001))),
        ("RTP/AVP/UDP;client_port=5000", Transport(udp_ports=(5000, 5001))),
        (
            "RTP/AVP;multicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=0-1",
            Transport(channel=0),
        ),
        ("RTP/AVP;multicast;port=5000-5001", None),
        ("RTP/AVP;client_port=0-70000", None),
        ("RTP/AVP/TCP;interleaved=999-1000", None),
        ("", None),
    ],
)
def test_first_supported_transport_is_chosen(offer: str, chosen: Transport | None) -> None:
    assert parse_transport(offer) == chosen


def test_response_repeats_the_sequence_number() -> None:
    request = parse_request("DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 7")
    text = format_response(200, request, {"A": "b"}, "v=0\r\n").decode()
    assert text.startswith("RTSP/1.0 200 OK\r\nCSeq: 7\r\nA: b\r\n")
    assert text.endswith("Content-Length: 5\r\n\r\nv=0\r\n")


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        ("Basic dTpwOnc=", ("u", "p:w")),
        ("basic dTpw", ("u", "p")),
        ("Basic dXA=", None),
        ("Basic ###", None),
        ("Digest x", None),
        ("", None),
    ],
)
def test_basic_credentials_are_parsed(header: str, credentials: tuple[str, str] | None) -> None:
    assert parse_basic_credentials(header) == credentials
