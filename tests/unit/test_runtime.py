"""The small parts of the runtime: time, who a peer is, and kernels that one process compiles for all."""

import logging
import time

import pytest

from mpc.errors import AuthenticationError, ParameterError
from mpc.keys.identity import issue_leaf, new_root
from mpc.parties import Role
from mpc.runtime import warming
from mpc.runtime.clock import SystemClock
from mpc.runtime.tls import Gatekeeper
from tests.wire.grpc_room import HOSTS, leaf, manifest, root

HUB = b"spiffe://sealroom/coordinator/hub"


async def test_the_machines_clock_goes_forward_and_sleeps():
    clock = SystemClock()
    before, started = clock.monotonic(), clock.now()
    await clock.sleep(0.02)

    assert clock.monotonic() - before >= 0.02
    assert abs(clock.now() - time.time()) < 5
    assert clock.now() >= started


# ---- who a peer is ---------------------------------------------------------------------------------------------


def context(certificate=None, ids=(HUB,), group=b"X25519"):
    pems = [leaf("hub").certificate if certificate is None else certificate]
    return {"x509_pem_cert": pems, "peer_spiffe_id": list(ids), "ssl_negotiated_key_exchange_group": [group]}


def test_a_member_is_recognised_with_the_key_exchange_that_was_used():
    caller = Gatekeeper(manifest()).caller(context())

    assert (caller.member.name, caller.member.role, caller.key_exchange) == ("hub", Role.COORDINATOR, "X25519")


STRANGERS = {
    "nothing": {},
    "no certificate": {"peer_spiffe_id": [HUB]},
    "an empty certificate": context(certificate=b""),
    "no name": context(ids=()),
    "two names": context(ids=(HUB, HUB)),
    "a stranger's name": context(ids=(b"spiffe://sealroom/coordinator/other",)),
    "another role": context(ids=(b"spiffe://sealroom/analyst/hub",)),
    "another member's name": context(ids=(b"spiffe://sealroom/analyst/ana",)),
    "a name that is no text": context(ids=(b"\xff\xfe",)),
    "a name with a tail": context(ids=(HUB + b"\0",)),
    "another root": context(
        certificate=issue_leaf(new_root(Role.COORDINATOR, "hub"), Role.COORDINATOR, "hub", HOSTS).certificate
    ),
    "a party's root": context(certificate=issue_leaf(root("south"), Role.COORDINATOR, "hub", HOSTS).certificate),
    "rubbish": context(certificate=b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_everybody_else_is_a_stranger_even_after_a_member_was_seen(who):
    gatekeeper = Gatekeeper(manifest())
    for _ in range(2):
        gatekeeper.caller(context())
        with pytest.raises(AuthenticationError):
            gatekeeper.caller(STRANGERS[who])


def test_a_certificate_that_was_checked_for_one_member_does_not_serve_another():
    gatekeeper = Gatekeeper(manifest())
    gatekeeper.caller(context())
    with pytest.raises(AuthenticationError):
        gatekeeper.caller(context(ids=(b"spiffe://sealroom/party/north",)))


def test_a_checked_certificate_is_refused_from_the_second_in_which_it_ends():
    now = [time.time()]
    gatekeeper = Gatekeeper(manifest(), lambda: now[0])
    gatekeeper.caller(context())
    now[0] += 89 * 86400
    gatekeeper.caller(context())
    now[0] += 2 * 86400
    with pytest.raises(AuthenticationError):
        gatekeeper.caller(context())


def test_memory_of_certificates_is_bounded():
    gatekeeper = Gatekeeper(manifest())
    for _ in range(300):
        renewed = issue_leaf(root("hub"), Role.COORDINATOR, "hub", ())
        gatekeeper.caller(context(certificate=renewed.certificate))

    assert len(gatekeeper._checked) <= 257


# ---- kernels ---------------------------------------------------------------------------------------------------


def test_only_sets_with_kernels_are_warmed():
    seen = []
    warming.warm_kernels(["bfv-4096-t40", "paillier-3072-s64"], {"a": seen.append})
    warming.warm_kernels(["rlwe-2048-t30", "bfv-4096-t40", "rlwe-4096-t60"], {"a": seen.extend})

    assert [s.id for s in seen] == ["rlwe-2048-t30", "rlwe-4096-t60"]


def test_an_unknown_set_is_an_error():
    with pytest.raises(ParameterError):
        warming.warm_kernels(["rlwe-1-t1"], {"a": lambda sets: None})


def test_stages_run_in_their_order():
    order = []
    stages = {name: lambda _, name=name: order.append(name) for name in ("b", "a", "c")}
    warming.warm_kernels(["rlwe-2048-t30"], stages)

    assert order == ["b", "a", "c"]


def test_the_log_says_how_long_it_took(caplog):
    with caplog.at_level(logging.INFO, "mpc.runtime.warming"):
        warming.warm_kernels(["rlwe-2048-t30"], {"stage": lambda _: None})

    assert "ready" in caplog.text
