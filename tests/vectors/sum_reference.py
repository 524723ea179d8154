"""The sum's derivations written again from their descriptions, on Python's integers, sharing no code with the product.

`python -m tests.vectors.sum_reference` writes the known answers beside this file; `test_sum_vectors.py` compares the
product with them, and this reference with them as well.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = Path(__file__).parent
FILES = ("sum_transcripts", "sum_masks", "sum_layouts", "sum_digests")

# ---- hashing ---------------------------------------------------------------------------------------------------


def digest(label, *parts):
    """SHA-256 over label and parts, each behind its length in eight little-endian bytes."""
    joined = b"".join(len(p).to_bytes(8, "little") + p for p in (label.encode(), *parts))
    return hashlib.sha256(joined).digest()


def canonical(label, value):
    """The same over compact JSON, bytes in base64."""
    return digest(label, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def b64(data):
    return base64.b64encode(data).decode()


def hkdf_expand(key, info, size=32):
    out, block, counter = b"", b"", 1
    while len(out) < size:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:size]


def pair_info(one, other):
    names = [n.encode() for n in sorted((one, other))]
    return b"sealroom/v1/pair-mask" + b"".join(len(n).to_bytes(4, "little") + n for n in names)


def pair_key(private, public, transcript, info):
    shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return hkdf_expand(hmac.new(transcript, shared, hashlib.sha256).digest(), info)


def public_of(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


# ---- layout ----------------------------------------------------------------------------------------------------

SETS = {
    "insecure-clear-4096-t62": (4096, 1 << 62),
    "bfv-4096-t40": (4096, 1099511799809),
    "bfv-8192-t60": (8192, 1152921504606830593),
    "paillier-3072-s64": (47, 1 << 64),
    "rlwe-2048-t30": (2048, 1 << 30),
    "rlwe-4096-t60": (4096, 1 << 60),
}
"""Slots and plaintext modulus, as the sets' descriptions say."""


def layout(segments, name, parties):
    """Width, per segment its limbs and first slot, payload slots, ciphertexts."""
    slots, modulus = SETS[name]
    width = max(w for w in range(63) if parties << w <= modulus)
    placed, position = [], 0
    for _, length, bound in segments:
        limbs = 1
        while 1 << (width * limbs) <= 2 * parties * bound:
            limbs += 1
        placed.append([limbs, position])
        position += length * limbs
    ciphertexts = max(1, -(-position // (slots - 2)))
    return {"width": width, "segments": placed, "payload_slots": position, "ciphertexts": ciphertexts}


def transcript(case):
    """T of a round: everything on which all parties must agree."""
    room, job, attempt, number, request = case["context"]
    label, recipient, segments, context = case["header"]
    found = layout(segments, case["parameter_set"], len(case["mask_keys"]))
    document = {"room": room, "job": job, "attempt": attempt, "round": number}
    document["request_digest"] = b64(bytes.fromhex(request))
    keys = [[party, b64(bytes.fromhex(key))] for party, key in sorted(case["mask_keys"].items())]
    shape = [len(keys), found["width"], found["payload_slots"], found["ciphertexts"]]
    return digest(
        "sealroom/v1/sum-transcript",
        (1).to_bytes(4, "little"),
        canonical("context", document),
        canonical("header", [label, recipient, segments, b64(bytes.fromhex(context))]),
        canonical("mask-keys", keys),
        bytes.fromhex(case["recipient_key_digest"]),
        bytes.fromhex(case["parameter_digest"]),
        canonical("layout", shape),
    )


# ---- masks -----------------------------------------------------------------------------------------------------


def words(key, start, count):
    """AES-256 counter mode from zero, as little-endian 64-bit words."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = b"".join(encryptor.update(i.to_bytes(16, "big")) for i in range(start // 2, (start + count + 1) // 2))
    found = [int.from_bytes(blocks[i : i + 8], "little") for i in range(0, len(blocks), 8)]
    return found[start % 2 : start % 2 + count]


def tags(bound, first, count, width):
    key = hkdf_expand(bound, b"sealroom/v1/position-tags")
    return [w % (1 << width) for w in words(key, first, count)]


def masked(values, me, pair_keys, *, stream, start, width, limbs):
    """Residues modulo 2^(width limbs), each with its own mask per pair, cut into limbs after masking."""
    modulus, out = 1 << (width * limbs), []
    for i, value in enumerate(values):
        total = value
        for peer, key in pair_keys.items():
            drawn = words(hkdf_expand(key, f"sealroom/v1/mask/{stream}".encode()), start + i * limbs, limbs)
            mask = sum((w % (1 << width)) << (j * width) for j, w in enumerate(drawn))
            total += -mask if me > peer else mask
        total %= modulus
        out += [(total >> (j * width)) % (1 << width) for j in range(limbs)]
    return out


# ---- cases -----------------------------------------------------------------------------------------------------


def seeded(text, size=32):
    return hashlib.shake_256(text.encode()).digest(size)


def transcript_cases(parameter_digests):
    keys = {n: public_of(seeded(f"mask key {n}")).hex() for n in ("north", "south", "west", "a", "z-9")}
    three = {n: keys[n] for n in ("north", "south", "west")}
    base = {
        "context": ["ab" * 32, "01" * 16, 1, 1, seeded("request").hex()],
        "header": ["totals", "analyst", [["n", 1, 1 << 32], ["sum", 12, 1 << 60]], ""],
        "parameter_set": "rlwe-4096-t60",
        "mask_keys": three,
        "recipient_key_digest": seeded("recipient").hex(),
    }
    changes = [
        ("the base case", {}),
        ("another attempt", {"context": [*base["context"][:2], 2, 1, base["context"][4]]}),
        ("another round", {"context": [*base["context"][:3], 7, base["context"][4]]}),
        ("a group's sum with a context", {"header": ["grad", "group", [["w", 5000, 1]], seeded("keys").hex()]}),
        ("two parties", {"mask_keys": {n: keys[n] for n in ("a", "z-9")}}),
        ("a bound beyond 64 bits", {"header": ["wide", "group", [["w", 3, 1 << 126], ["z", 0, 0]], ""]}),
        ("another set", {"parameter_set": "bfv-4096-t40"}),
        ("a name beyond ASCII in a label", {"header": ["größe \u2713", "analyst", [["ü", 2, 5]], ""]}),
    ]
    out = []
    for comment, change in changes:
        case = base | change
        case["parameter_digest"] = parameter_digests[case["parameter_set"]]
        bound = transcript(case)
        names = sorted(case["mask_keys"])
        width = layout(case["header"][2], case["parameter_set"], len(names))["width"]
        info = pair_info(names[-1], names[0])
        out.append(
            {"comment": comment, **case, "transcript": bound.hex(), "pair": [names[-1], names[0]],
             "pair_info": info.hex(), "tags_from": 3, "tags": tags(bound, 3, 4, width)}
        )  # fmt: skip
        if names == ["north", "south", "west"]:
            private = seeded("mask key west")
            key = pair_key(private, bytes.fromhex(keys["north"]), bound, info)
            out[-1] |= {"private_key": private.hex(), "pair_key": key.hex()}
    return out


def mask_cases():
    out = []
    for width, limbs, start, values in (
        (28, 1, 0, [0, 5, (1 << 28) - 1]),
        (28, 3, 7, [1 << 80, -1, 0, -(1 << 83)]),
        (58, 2, 1000, [1 << 100, -(1 << 115), 12345]),
        (62, 1, 1 << 40, [(1 << 61) - 1, -(1 << 61)]),
        (8, 5, 2, [-3, 1 << 39]),
        (37, 4, 0, [0] * 3),
    ):
        for me, peers in (("north", ("south",)), ("south", ("north", "west")), ("west", ("a", "north", "south", "z"))):
            keys = {p: seeded(f"pair {sorted((me, p))} {width}") for p in peers}
            residues = [v % (1 << (width * limbs)) for v in values]
            payload = masked(residues, me, keys, stream="values", start=start, width=width, limbs=limbs)
            checks = masked([1, 0, 1, 0], me, keys, stream="checks", start=2 * 9, width=width, limbs=1)
            out.append(
                {"me": me, "pair_keys": {p: k.hex() for p, k in keys.items()}, "width": width, "limbs": limbs,
                 "first_slot": start, "values": values, "masked": payload, "first_ciphertext": 9, "checks": checks}
            )  # fmt: skip
    return out


def layout_cases():
    found = []
    for name in SETS:
        for parties in (2, 3, 16):
            segments = [["a", 100, 1], ["b", 0, 7], ["c", 5000, (1 << 40) - 1], ["d", 3, 1 << 126]]
            case = {"parameter_set": name, "participants": parties, "segments": segments}
            placed = layout(segments, name, parties)
            found.append(case | placed | {"segments": segments, "segments_placed": placed["segments"]})
    return found


def digest_cases():
    lists = [[], [seeded("c0")], [seeded("c0"), seeded("c1")], [seeded("c1"), seeded("c0")], [b""] * 3]
    members = [
        {"name": "north", "role": "party", "endpoint": "localhost:1", "identity": "ab" * 32, "certificate": "c"},
        {"name": "hub", "role": "coordinator", "endpoint": "[::1]:2", "identity": "cd" * 32, "certificate": "d"},
    ]
    column = {"name": "qty", "type": "BIGINT", "nullable": False, "minimum": -(1 << 90), "maximum": 1 << 90}
    table = {"name": "sales", "columns": [column], "parties": ["north"]}
    room = {
        "name": "room", "version": 2, "members": members, "floor": {"minimum_parties": 2, "job_lifetime_s": 3600},
        "dictionary": {"tables": [table]},
    }  # fmt: skip
    payloads = [b"", b"\x80", seeded("payload", 300)]
    return {
        "ciphertext_lists": [
            {"digests": [d.hex() for d in x], "list_digest": digest("sealroom/v1/ciphertext-list", *x).hex()}
            for x in lists
        ],
        "rooms": [{"manifest": room, "room": canonical("sealroom/v1/manifest", room).hex()}],
        "requests": [
            {"payload": p.hex(), "digest": digest("sealroom/v1/job-request-digest", p).hex()} for p in payloads
        ],
        "public_keys": [
            {
                "parameter_set": name,
                "data": data.hex(),
                "digest": hashlib.sha256(
                    b"sealroom/v1/public-key" + bytes([len(name)]) + name.encode() + data
                ).hexdigest(),
            }
            for name, data in (("rlwe-2048-t30", b"key"), ("x", b""))
        ],
    }


def documents(parameter_digests):
    """What every file holds, by its name."""
    return {
        "sum_transcripts": {"parameter_digests": parameter_digests, "cases": transcript_cases(parameter_digests)},
        "sum_masks": {"cases": mask_cases()},
        "sum_layouts": {"cases": layout_cases()},
        "sum_digests": digest_cases(),
    }


def main():
    """Write the files. Digests of parameter sets are taken from the old file: they are part of the wire."""
    frozen = json.loads((HERE / "sum_transcripts.json").read_text(encoding="utf-8"))["parameter_digests"]
    for name, content in documents(frozen).items():
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
