"""Fingerprints that people compare by voice: 32 bytes as hexadecimal, and the first twelve of them as words.

Twelve words carry 96 bits: making another key with the same words is out of reach, and they are read in one breath.
"""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mpc.errors import ConfigurationError
from mpc.keys.manifest import Member
from mpc.keys.statements import statement_digest

__all__ = ["WORDS", "fingerprint", "grouped_hex", "spoken"]

WORDS: Final = tuple(
    """
    acorn adobe agate album alder alley amber ankle anvil apple apron arena arrow atlas attic autumn bacon badge
    bagel bamboo banjo barley basil beacon beaver bench berry birch bishop blanket bonnet border bottle branch brick
    bridge bronze brush bucket bugle butter cabin cactus camel candle canoe canyon carbon cargo carpet castle cedar
    cellar chalk cherry chimney cider citrus cobalt coconut coffee comet compass copper coral cotton cradle crane
    crayon cricket crystal curtain cypress dagger daisy damson delta denim desert diamond dolphin donkey dragon drum
    eagle easel ebony elbow ember engine fabric falcon feather fiddle field finch fjord flame flint flute forest
    fossil fountain frost galaxy garden garlic gazelle ginger glacier globe goblet gravel guitar hammer harbor hazel
    helmet heron hickory honey horizon hornet iceberg igloo indigo iris island ivory jacket jaguar jasmine jelly
    jigsaw juniper kayak kernel kettle kite koala ladder lagoon lantern lark lemon lentil lilac linen lizard lobster
    locket lotus magnet mango maple marble meadow melon mercury mill mint mirror mosaic mountain mulberry mustard
    napkin nectar needle nettle nickel nutmeg oak oasis ocean olive onion opal orbit orchid otter oyster paddle palm
    panda paper parcel parrot peach pebble pepper piano pigeon pillow pine planet plum pocket pollen pony poplar
    prism pumpkin quartz quill rabbit radar raven ribbon river robin rocket saddle saffron salmon sandal saturn
    silver spruce stable station sulphur summit sunset sycamore tablet tailor temple thistle thunder tiger timber
    topaz torch tractor trumpet tulip tunnel turtle umbrella valley vanilla velvet violin volcano voyage wagon
    walnut water willow window winter yellow yogurt zebra zenith
    """.split()  # noqa: SIM905 - a list of 256 string literals is unreadable
)
"""One word for each value of a byte."""

SPOKEN_BYTES: Final = 12


def fingerprint(member: Member) -> bytes:
    """Digest of who a member is: role, name, identity key and root certificate; not where it listens.

    Raises:
        ConfigurationError: The certificate cannot be read.
    """
    try:
        certificate = x509.load_pem_x509_certificate(member.certificate.encode())
    except ValueError:
        raise ConfigurationError(f"member {member.name}: its certificate cannot be read") from None
    der = certificate.public_bytes(serialization.Encoding.DER)
    return statement_digest(
        "sealroom/v1/fingerprint", member.role.value.encode(), member.name.encode(), member.public_key, der
    )


def spoken(digest: bytes) -> str:
    """The first twelve bytes of a digest as words.

    >>> spoken(bytes(12))
    'acorn acorn acorn acorn acorn acorn acorn acorn acorn acorn acorn acorn'
    """
    return " ".join(WORDS[b] for b in digest[:SPOKEN_BYTES])


def grouped_hex(digest: bytes) -> str:
    """Hexadecimal in groups of eight digits.

    >>> grouped_hex(bytes(8))
    '00000000 00000000'
    """
    text = digest.hex()
    return " ".join(text[i : i + 8] for i in range(0, len(text), 8))
