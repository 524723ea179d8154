"""The method table covers both services exactly, and denies by default."""

import ast
import re
from pathlib import Path

import pytest

import mpc
from mpc.parties import Role
from mpc.runtime.channel import GrpcCoordinatorPeer, GrpcPartyPeer
from mpc.wire import limits
from mpc.wire.methods import COORDINATOR_METHODS, PARTY_METHODS, SERVICES
from mpc.wire.v1 import coordinator_pb2, party_pb2

ROOT = Path(mpc.__file__).parent.parent
PROTO = ROOT / "proto"

DESCRIBED = {
    service.full_name: service
    for module in (party_pb2, coordinator_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
METHODS = [(service, name) for service, methods in SERVICES.items() for name in methods]


def streaming_of(service):
    """Which sides of each method stream, read from the .proto text: descriptors of old runtimes do not say."""
    text = "\n".join(p.read_text() for p in sorted((PROTO / "mpc/wire/v1").glob("*.proto")))
    body = re.search(rf"service {service.rpartition('.')[2]} {{(.*?)\n}}", text, re.DOTALL)[1]
    found = re.findall(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\)", body)
    return {name: (bool(a), bool(b)) for name, a, _, b, _ in found}


def test_the_table_has_every_service_and_method_and_nothing_else():
    assert set(SERVICES) == set(DESCRIBED)
    for name, service in DESCRIBED.items():
        assert set(SERVICES[name]) == {x.name for x in service.methods}
        assert set(SERVICES[name]) == set(streaming_of(name))


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_a_method_has_the_messages_and_streams_of_its_descriptor(service, name):
    method, described = SERVICES[service][name], DESCRIBED[service].methods_by_name[name]

    assert method.name == name
    assert method.request.__name__ == described.input_type.name
    assert method.reply.__name__ == described.output_type.name
    assert (method.request_stream, method.reply_stream) == streaming_of(service)[name]


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_a_method_has_callers_limits_and_a_deadline(service, name):
    method = SERVICES[service][name]

    assert method.callers
    assert method.callers <= set(Role)
    assert 0 < method.request_limit_bytes <= limits.MAX_REQUEST_BYTES
    assert 0 < method.reply_limit_bytes <= limits.MAX_REQUEST_BYTES
    assert 0 < method.deadline_s <= 3600


def test_only_the_coordinator_works_a_party_and_only_analysts_give_jobs():
    for name, method in PARTY_METHODS.items():
        allowed = {Role.COORDINATOR, Role.ANALYST} if name == "Describe" else {Role.COORDINATOR}
        assert method.callers == allowed, name
    for name, method in COORDINATOR_METHODS.items():
        others = {"Describe": {Role.PARTY, Role.AUDITOR}, "Survey": {Role.PARTY}}
        allowed = {Role.ANALYST} | others.get(name, set())
        assert method.callers == allowed, name


def test_methods_that_only_ask_small_things_take_only_small_requests():
    for name in ("Describe", "OfferKey", "Collect", "Cancel"):
        assert PARTY_METHODS[name].request_limit_bytes <= 1 << 16
    for name in ("Describe", "Watch", "Fetch", "Cancel", "List", "Survey"):
        assert COORDINATOR_METHODS[name].request_limit_bytes <= 1 << 16


def test_peers_offer_every_method_of_their_service():
    def snake(name):
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

    for peer, methods in ((GrpcPartyPeer, PARTY_METHODS), (GrpcCoordinatorPeer, COORDINATOR_METHODS)):
        assert {snake(n) for n in methods} <= set(vars(peer))


def test_limits_fit_into_one_another():
    assert limits.CHUNK_BYTES < limits.MAX_FRAME_BYTES < limits.MAX_REQUEST_BYTES < 4 << 20
    assert limits.MAX_PUBLIC_KEY_BYTES < limits.MAX_REQUEST_BYTES
    assert list(limits.__all__) == sorted(limits.__all__)


# ---- labels ----------------------------------------------------------------------------------------------------


def labels():
    """Every label constant of the program by the file it stands in."""
    found = {}
    for path in sorted([*(ROOT / "mpc").rglob("*.py"), *(ROOT / "servers").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
                if text.startswith("sealroom/"):
                    found.setdefault(text, []).append(path.relative_to(ROOT).as_posix())
    return found


SHARED = {"sealroom/v1/note-body"}
"""Labels that two sides write: the one that makes a digest and the one that checks it."""


def test_labels_carry_the_wire_version():
    assert all(re.fullmatch(r"sealroom/v1/[a-z0-9/-]+!?", label) for label in labels())


def test_a_label_stands_for_one_thing():
    for label, places in labels().items():
        assert len(places) == 1 or (label in SHARED and len(places) == 2), (label, places)


def test_the_labels_of_the_protocol_are_all_there():
    protocol = {
        "endorsement", "manifest", "commitment", "key-offer", "receipt", "job-request", "note", "sum-transcript",
        "pair-mask", "mask/values", "mask/checks", "position-tags", "public-key", "parameter-set", "ciphertext-list",
    }  # fmt: skip

    assert {f"sealroom/v1/{name}" for name in protocol} <= set(labels())


# ---- the proto folder ------------------------------------------------------------------------------------------


def test_the_proto_folder_holds_definitions_and_their_script_alone():
    """A Python file there would shadow the package `proto` that other software imports."""
    files = {p.relative_to(PROTO).as_posix() for p in PROTO.rglob("*") if p.is_file()}

    assert {f for f in files if not f.endswith(".proto")} == {"generate.sh"}
    assert all(f.startswith("mpc/wire/v1/") for f in files - {"generate.sh"})


def test_every_definition_has_its_committed_stub_and_no_stub_is_left_over():
    stubs = ROOT / "mpc/wire/v1"
    names = {p.stem for p in PROTO.rglob("*.proto")}

    assert {p.name for p in stubs.glob("*.py*")} == {f"{n}_pb2.{e}" for n in names for e in ("py", "pyi")} | {
        "__init__.py"
    }
