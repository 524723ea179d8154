"""The group's keys at one party: made by the lowest party, sealed to the members, bound to the transcript.

With a scheme whose keys derive from seeds, one 32-byte seed is sealed in the first group round and every round's key is
derived from it; otherwise each round has its own key pair.
"""

from mpc.entropy import SystemEntropy
from mpc.errors import IntegrityError, ProtocolError
from mpc.keys.identity import IdentityKey, verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.public import public_key_digest
from mpc.keys.secret import seal
from mpc.keys.statements import Signed
from mpc.primitives import SumHeader
from mpc.sum.messages import KeyOffer, derived_key_digest, group_key_info, seed_commitment
from servers.party.job import PartyJob

__all__ = ["make_offer", "new_seed", "round_info", "take_offer"]


def round_info(job: PartyJob) -> bytes:
    """The label of the open round's derived key; empty where keys are not derived."""
    if not job.derives_keys:
        return b""
    return group_key_info(job.request.room, job.request.job, job.request.attempt, job.round)


def new_seed(job: PartyJob) -> bytes:
    """A fresh seed for the job's group keys."""
    seed = SystemEntropy().token(32)
    job.group_commitment = seed_commitment(seed)
    return seed


def key_digest(job: PartyJob, public: bytes) -> bytes:
    """The digest of the open round's group key in the transcript."""
    if public:
        return public_key_digest(job.request.parameter_set, public)
    return derived_key_digest(job.request.parameter_set, job.group_commitment, round_info(job))


def make_offer(job: PartyJob, header: SumHeader, identity: IdentityKey, public: bytes, material: bytes) -> Signed:
    """Seal the group's secret (or seed) to every member, and sign.

    Reveals: to the members, the group's secret; to everyone else, sizes.
    """
    digest = key_digest(job, public)
    bound = job.transcript(header, digest)
    job.group_secret = material
    boxes = tuple(
        (party, seal(commitment.sealing_key, material, context=bound + party.encode()))
        for party, commitment in sorted(job.peers.items())
        if party != job.me
    )
    offer = KeyOffer(
        room=job.request.room,
        job=job.request.job,
        attempt=job.request.attempt,
        round=job.round,
        maker=job.me,
        parameter_set=job.request.parameter_set,
        public_key_digest=digest if public else b"",
        seed_commitment=job.group_commitment,
        boxes=boxes,
    )
    return identity.sign(offer, job.me)


def _checked(job: PartyJob, manifest: Manifest, signed: Signed, public: bytes) -> KeyOffer:
    """The maker's offer, if it is for this job and of the right kind."""
    maker = min(job.request.participants)
    member = manifest.member(maker)
    if member is None or signed.signer != maker:
        raise ProtocolError("the key offer is not the lowest party's")
    offer, request = verify_signed(signed, KeyOffer, member.public_key), job.request
    place = (offer.room, offer.job, offer.attempt, offer.maker, offer.parameter_set)
    in_time = offer.round <= job.round if job.derives_keys else offer.round == job.round
    if place != (request.room, request.job, request.attempt, maker, request.parameter_set) or not in_time:
        raise ProtocolError("the key offer is for something else")
    if job.derives_keys == bool(public) or job.derives_keys != bool(offer.seed_commitment):
        raise ProtocolError("the key offer is of another kind than the parameter set's")
    if public and public_key_digest(request.parameter_set, public) != offer.public_key_digest:
        raise IntegrityError("the group's public key is not the one its maker signed", round=job.round)
    if job.group_commitment not in {b"", offer.seed_commitment}:
        raise ProtocolError("the group's seed was changed", round=job.round)
    return offer


def take_offer(job: PartyJob, header: SumHeader, manifest: Manifest, signed: Signed, public: bytes) -> bytes:
    """Check the maker's offer, unseal the group's secret if it is new, and return the key's digest.

    Raises:
        ProtocolError: The offer is for something else.
        IntegrityError: The offer, the public key or the sealed box do not belong together.
    """
    offer = _checked(job, manifest, signed, public)
    job.group_commitment = offer.seed_commitment
    digest = key_digest(job, public)
    if job.group_secret:
        return digest
    box = dict(offer.boxes).get(job.me)
    if box is None or offer.round != job.round:
        raise ProtocolError("the key offer leaves this party out")
    secret = job.sealing_key.unseal(box, context=job.transcript(header, digest) + job.me.encode())
    if offer.seed_commitment and seed_commitment(secret) != offer.seed_commitment:
        raise IntegrityError("the sealed seed is not the one its maker committed to", round=job.round)
    job.group_secret = secret
    return digest
