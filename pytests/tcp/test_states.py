# SPDX-License-Identifier: BSD-3-Clause
"""The state machine of TCP, transition by transition (RFC 9293, figure 5 and section 3.10), against a
peer made by hand. The states are those that TCP_INFO tells the application."""

import pytest
from scapy.layers.inet import TCP

from uvnet_harness.peer import payload_of


@pytest.fixture
def connecting(puppet, peer):
    """The puppet connects to the peer, its SYN has come: socket `c`."""
    puppet(f"c = tcp(['{puppet.host.ip}', 7]); connect(c, ['{peer.wire.ip}', {peer.sport}])")
    syn = peer.expect("S")
    peer.ack = (syn[TCP].seq + 1) % (1 << 32)
    return puppet


def fin_wait_1(puppet, peer):
    """The puppet has ended its half."""
    puppet("c.shutdown(socket.SHUT_WR)")
    peer.take(peer.expect("F"))


def fin_wait_2(puppet, peer):
    """And that was acknowledged."""
    fin_wait_1(puppet, peer)
    peer.send("A")
    puppet.until("state(c)", "FIN_WAIT2")


def closing(puppet, peer):
    """Both have ended, and neither knows that the other knows."""
    fin_wait_1(puppet, peer)
    peer.send("FA", ack=peer.ack - 1)
    peer.expect("A")


def close_wait(puppet, peer):
    """The peer has ended its half."""
    peer.send("FA")
    peer.expect("A")


def established_(_puppet, _peer):
    """Nobody has ended anything."""


ESTABLISHED_ON = {
    "ESTABLISHED": established_,
    "FIN_WAIT1": fin_wait_1,
    "FIN_WAIT2": fin_wait_2,
    "CLOSING": closing,
    "CLOSE_WAIT": close_wait,
}


# ------------------------------------------------------------------------------ opening, passive


def test_closed_to_listen(listener):
    assert listener("state(l)") == "LISTEN"


def test_listen_to_syn_received(listener, peer):
    peer.send("S")
    answer = peer.expect("SA")
    assert answer[TCP].ack == peer.seq
    assert listener("poll(l)") == 0, "nobody to accept yet"


def test_syn_received_to_established(established):
    assert established("state(c)") == "ESTABLISHED"


def test_syn_received_to_established_by_data(listener, peer):
    """The ACK of the handshake may carry data."""
    peer.send("S")
    peer.ack = peer.expect("SA")[TCP].seq + 1
    peer.send("PA", b"at once")
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]")
    assert listener("c.recv(10)") == "at once"


def test_syn_received_to_close_wait(listener, peer):
    """The ACK of the handshake may end the peer's half."""
    peer.send("S")
    peer.ack = peer.expect("SA")[TCP].seq + 1
    peer.send("FA")
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]")
    listener.until("state(c)", "CLOSE_WAIT")


def test_syn_received_to_listen_by_reset(listener, peer):
    peer.send("S")
    peer.expect("SA")
    peer.send("R")
    peer.ack = 1
    peer.send("A", ack=peer.iss + 1)
    assert "R" in str(peer.expect()[TCP].flags), "it is forgotten"
    assert listener("poll(l)") == 0


def test_syn_received_answers_a_syn_that_comes_again(listener, peer):
    peer.send("S")
    first = peer.expect("SA")
    peer.send("S", seq=peer.seq - 1)
    assert peer.expect("SA")[TCP].seq == first[TCP].seq


def test_syn_received_refuses_a_wrong_acknowledgment(listener, peer):
    peer.send("S")
    peer.expect("SA")
    peer.send("A", ack=peer.iss + 77)
    answer = peer.expect("R")
    assert answer[TCP].seq == (peer.iss + 77) % (1 << 32), "RFC 9293, 3.10.7.4: <SEQ=SEG.ACK><CTL=RST>"
    assert listener("poll(l)") == 0


@pytest.mark.parametrize("flags", ["R", "RA"])
def test_listen_ignores_resets(listener, peer, flags):
    peer.send(flags)
    peer.assert_nothing()
    assert listener("state(l)") == "LISTEN"


@pytest.mark.parametrize("flags", ["A", "PA", "FA"])
def test_listen_resets_acknowledgments(listener, peer, flags):
    peer.ack = 4711
    peer.send(flags)
    answer = peer.expect("R")
    assert answer[TCP].seq == 4711


def test_reset_of_an_acknowledgment_has_none(listener, peer):
    """RFC 9293, 3.10.7.2: <SEQ=SEG.ACK><CTL=RST>."""
    peer.ack = 4711
    peer.send("A")
    assert str(peer.expect("R")[TCP].flags) == "R"


def test_listen_takes_data_with_the_syn_again_or_keeps_it(listener, peer):
    """Data in a SYN is delivered once, after the handshake: kept, or sent again by the peer."""
    peer.send("S", b"early")
    answer = peer.expect("SA")
    taken = (answer[TCP].ack - 1001) % (1 << 32)
    assert taken in (0, 5)
    peer.seq = 1001 + taken
    peer.ack = answer[TCP].seq + 1
    peer.send("PA", b"early"[taken:] + b" and late")
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]")
    assert listener("c.recv(100)") == "early and late"


# ------------------------------------------------------------------------------- opening, active


def test_closed_to_syn_sent(connecting):
    assert connecting("state(c)") == "SYN_SENT"
    assert connecting("poll(c)") == 0


def test_syn_sent_to_established(connecting, peer):
    peer.send("SA")
    answer = peer.expect("A")
    assert (answer[TCP].seq, answer[TCP].ack) == (peer.ack, peer.seq)
    connecting.until("state(c)", "ESTABLISHED")
    assert connecting("poll(c)") == 4, "writable"


def test_syn_sent_to_closed_by_refusal(connecting, peer):
    peer.send("RA", seq=0)
    connecting.until("poll(c) & 8", 8)
    assert connecting("c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)") == 111, "ECONNREFUSED"
    peer.assert_nothing()


def test_syn_sent_ignores_a_reset_of_something_else(connecting, peer):
    peer.send("RA", seq=0, ack=peer.ack + 1000)
    peer.send("R", seq=0)
    peer.assert_nothing()
    assert connecting("state(c)") == "SYN_SENT"


def test_syn_sent_resets_a_wrong_acknowledgment(connecting, peer):
    """An old SYN,ACK (RFC 9293, 3.5, figure 9): reset, and the connection opens all the same."""
    peer.send("SA", ack=peer.ack + 1000, seq=1)
    answer = peer.expect("R")
    assert answer[TCP].seq == (peer.ack + 1000) % (1 << 32)
    assert connecting("state(c)") == "SYN_SENT"
    peer.send("SA")
    peer.expect("A")
    connecting.until("state(c)", "ESTABLISHED")


def test_syn_sent_to_closed_by_close(connecting, peer):
    connecting("c.close()")
    peer.send("SA")
    assert "R" in str(peer.expect()[TCP].flags), "there is no such connection any more"


def test_established_has_what_the_syn_offered(connecting, peer):
    """The peer's segment size is kept to."""
    peer.send("SA", options=[("MSS", 536)])
    peer.expect("A")
    connecting.until("state(c)", "ESTABLISHED")
    connecting("c.send(bytes(536))")
    assert len(payload_of(peer.expect("A"))) == 536
    assert connecting("info(c)['snd_mss']") == 536


# ---------------------------------------------------------------------------------------- ending


def test_established_to_fin_wait_1(established, peer):
    established("c.shutdown(socket.SHUT_WR)")
    fin = peer.expect("F")
    assert (fin[TCP].seq, fin[TCP].ack) == (peer.ack, peer.seq)
    assert established("state(c)") == "FIN_WAIT1"


def test_fin_comes_after_the_data(established, peer):
    established("c.send(b'last words'); c.shutdown(socket.SHUT_WR)")
    data, flags = b"", ""
    while "F" not in flags:
        frame = peer.expect()
        data, flags = data + payload_of(frame), str(frame[TCP].flags)
    assert data == b"last words"


def test_fin_wait_1_to_fin_wait_2(established, peer):
    fin_wait_2(established, peer)
    peer.assert_nothing()


def test_fin_wait_1_to_closing(established, peer):
    fin_wait_1(established, peer)
    peer.send("FA", ack=peer.ack - 1)
    assert peer.expect("A")[TCP].ack == peer.seq
    assert established("state(c)") == "CLOSING"


def test_fin_wait_1_to_time_wait(established, peer):
    fin_wait_1(established, peer)
    peer.send("FA")
    assert peer.expect("A")[TCP].ack == peer.seq
    peer.send("FA", seq=peer.seq - 1)
    assert str(peer.expect()[TCP].flags) == "A", "TIME_WAIT answers the FIN again"


def test_fin_wait_2_to_time_wait(established, peer):
    fin_wait_2(established, peer)
    peer.send("FA")
    assert peer.expect("A")[TCP].ack == peer.seq
    peer.send("FA", seq=peer.seq - 1)
    assert str(peer.expect()[TCP].flags) == "A"


def test_closing_to_time_wait(established, peer):
    closing(established, peer)
    peer.send("A")
    peer.send("FA", seq=peer.seq - 1)
    assert str(peer.expect()[TCP].flags) == "A"
    established.until("state(c) in ('CLOSE', 'TIME_WAIT')")


def test_time_wait_gives_way_to_a_new_connection(established, peer):
    """RFC 9293, 3.10.7.4, and RFC 6191: a SYN with a higher sequence number opens it anew."""
    fin_wait_1(established, peer)
    peer.send("FA")
    peer.expect("A")
    established("c.close()")
    peer.seq += 100_000
    peer.connect()
    established.until("poll(l) & 1", 1)


def test_time_wait_answers_an_old_syn_with_an_ack(established, peer):
    fin_wait_1(established, peer)
    peer.send("FA")
    peer.expect("A")
    peer.send("S", seq=peer.seq - 500)
    assert str(peer.expect()[TCP].flags) == "A"


def test_established_to_close_wait(established, peer):
    peer.send("FA")
    assert peer.expect("A")[TCP].ack == peer.seq
    established.until("state(c)", "CLOSE_WAIT")
    assert established("c.recv(1)") == "", "the end of the stream"


def test_close_wait_still_sends(established, peer):
    close_wait(established, peer)
    established("c.send(b'not yet')")
    assert payload_of(peer.expect("A")) == b"not yet"


def test_close_wait_to_last_ack(established, peer):
    close_wait(established, peer)
    established("c.shutdown(socket.SHUT_WR)")
    peer.expect("F")
    assert established("state(c)") == "LAST_ACK"


def test_last_ack_to_closed(established, peer):
    close_wait(established, peer)
    established("c.close()")
    peer.take(peer.expect("F"))
    peer.send("A")
    peer.send("A")
    assert "R" in str(peer.expect()[TCP].flags), "nothing is left of it"


def test_fin_wait_2_takes_data(established, peer):
    """A half that is open is open."""
    fin_wait_2(established, peer)
    peer.send("PA", b"more")
    assert peer.expect("A")[TCP].ack == peer.seq
    assert established("c.recv(10)") == "more"


def test_close_of_unread_data_resets(established, peer):
    """RFC 9293, 3.10.4, and RFC 2525, 2.17: the peer must learn that its data was not read."""
    peer.send("PA", b"unread")
    established.until("poll(c) & 1", 1)
    established("c.close()")
    assert peer.expect("R")


def test_data_after_close_resets(established, peer):
    established("c.close()")
    peer.take(peer.expect("F"))
    peer.send("PA", b"anybody?")
    assert peer.expect("R")


def test_linger_of_zero_resets(established, peer):
    established("c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()")
    reset = peer.expect("R")
    assert reset[TCP].seq == peer.ack


# --------------------------------------------------------------------- what any state is hurt by


@pytest.mark.parametrize("state", ESTABLISHED_ON)
def test_reset_ends_every_state(established, peer, state):
    ESTABLISHED_ON[state](established, peer)
    peer.send("R")
    established.until("state(c)", "CLOSE")
    peer.send("A")
    assert peer.expect("R")


@pytest.mark.parametrize("state", ESTABLISHED_ON)
def test_reset_outside_the_window_is_ignored(established, peer, state):
    ESTABLISHED_ON[state](established, peer)
    before = established("state(c)")
    peer.send("R", seq=peer.seq - 1)
    peer.send("R", seq=peer.seq + (1 << 30))
    peer.assert_nothing(but="F")  # which may be sent again
    assert established("state(c)") == before


@pytest.mark.parametrize("state", ESTABLISHED_ON)
def test_reset_inside_the_window_is_challenged(established, peer, state):
    """RFC 5961, 3.2: only the exact sequence number ends it; the true peer then says so."""
    ESTABLISHED_ON[state](established, peer)
    before = established("state(c)")
    peer.send("R", seq=peer.seq + 100)
    answer = peer.expect(but="F")
    assert (str(answer[TCP].flags), answer[TCP].ack) == ("A", peer.seq)
    assert established("state(c)") == before


@pytest.mark.parametrize("state", ESTABLISHED_ON)
def test_syn_is_challenged(established, peer, state):
    """RFC 5961, 4.2."""
    ESTABLISHED_ON[state](established, peer)
    before = established("state(c)")
    established.net.fabric.snapshot()
    peer.send("S", seq=peer.seq + 10)
    answer = peer.expect(but="F")
    assert (str(answer[TCP].flags), answer[TCP].ack) == ("A", peer.seq)
    assert established("state(c)") == before


@pytest.mark.parametrize(
    "offset,length",
    [(-10, 10), (-10, 1), (1 << 30, 10), (1 << 24, 1)],
    ids=["old", "old byte", "far ahead", "beyond the window"],
)
def test_unacceptable_segments_are_acknowledged_and_dropped(established, peer, offset, length):
    """RFC 9293, 3.10.7.4, first check: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    peer.send("PA", b"x" * 20)
    peer.expect("A")
    assert established("c.recv(100)") == "x" * 20
    peer.wire.drain()
    peer.send("PA", b"y" * length, seq=peer.seq + offset)
    assert peer.expect("A")[TCP].ack == peer.seq
    assert established("c.recv(100)") == {"error": "EAGAIN"}


@pytest.mark.parametrize("overlap", [1, 5, 9])
def test_overlapping_data_is_delivered_once(established, peer, overlap):
    peer.send("PA", b"0123456789")
    peer.expect("A")
    peer.send("PA", b"0123456789"[-overlap:] + b"abc", seq=peer.seq - overlap)
    peer.seq += 3
    established.until("len(c.recv(100, socket.MSG_PEEK))", 13)
    assert established("c.recv(100)") == "0123456789abc"


def test_acknowledgment_of_what_was_never_sent_is_refused(established, peer):
    """An ACK and nothing else; the data with it is not taken (RFC 9293, 3.10.7.4, fifth check)."""
    peer.send("PA", b"evil", seq=peer.seq, ack=peer.ack + 1_000_000)
    answer = peer.expect("A")
    assert (answer[TCP].seq, answer[TCP].ack) == (peer.ack, peer.seq)
    assert established("c.recv(100)") == {"error": "EAGAIN"}


def test_segment_without_ack_is_dropped(established, peer):
    """RFC 9293, 3.10.7.4, fifth check."""
    peer.send("P", b"silent", seq=peer.seq)
    peer.assert_nothing()
    assert established("c.recv(100)") == {"error": "EAGAIN"}


def test_data_after_the_fin_is_ignored(established, peer):
    close_wait(established, peer)
    peer.send("PA", b"ghost", seq=peer.seq)
    established("0")
    assert established("c.recv(100)") == ""
    assert established("state(c)") == "CLOSE_WAIT"


def test_fin_out_of_order_waits_for_its_data(established, peer):
    peer.send("FA", seq=peer.seq + 5)
    peer.expect("A")
    assert established("state(c)") == "ESTABLISHED"
    peer.send("PA", b"12345")
    peer.seq += 1
    established.until("state(c)", "CLOSE_WAIT")
    assert established("c.recv(100)") == "12345"


def test_wrong_checksum_is_no_segment(established, peer):
    peer.send("PA", b"damaged", seq=peer.seq, chksum=0x1234)
    peer.assert_nothing()
    assert established("c.recv(100)") == {"error": "EAGAIN"}
